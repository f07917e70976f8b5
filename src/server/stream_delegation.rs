//! What a wrapper around a client's connection delegates to the connection.

/// Implements for `$wrapper<S>` those of Pingora's traits that only describe the connection in its
/// field `$inner`. The wrapper itself reads, writes, shuts down and peeks.
macro_rules! describe_as_inner {
    ($wrapper:ident, $inner:ident) => {
        const _: () = {
            use std::sync::Arc;
            use std::time::Duration;

            use pingora::protocols::raw_connect::ProxyDigest;
            use pingora::protocols::tls::{SslDigest, TlsRef};
            use pingora::protocols::{
                ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, SocketDigest, Ssl,
                TimingDigest, UniqueID, UniqueIDType,
            };

            impl<S: IO> UniqueID for $wrapper<S> {
                fn id(&self) -> UniqueIDType {
                    self.$inner.id()
                }
            }

            impl<S: IO> Ssl for $wrapper<S> {
                fn get_ssl(&self) -> Option<&TlsRef> {
                    self.$inner.get_ssl()
                }

                fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
                    self.$inner.get_ssl_digest()
                }

                fn selected_alpn_proto(&self) -> Option<ALPN> {
                    self.$inner.selected_alpn_proto()
                }
            }

            impl<S: IO> GetTimingDigest for $wrapper<S> {
                fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
                    self.$inner.get_timing_digest()
                }

                fn get_read_pending_time(&self) -> Duration {
                    self.$inner.get_read_pending_time()
                }

                fn get_write_pending_time(&self) -> Duration {
                    self.$inner.get_write_pending_time()
                }
            }

            impl<S: IO> GetProxyDigest for $wrapper<S> {
                fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
                    self.$inner.get_proxy_digest()
                }
            }

            impl<S: IO> GetSocketDigest for $wrapper<S> {
                fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
                    self.$inner.get_socket_digest()
                }
            }
        };
    };
}

pub(crate) use describe_as_inner;
