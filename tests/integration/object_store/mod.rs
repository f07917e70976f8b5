//! A registry whose storage is an object store: crossmount lists it, and does nothing else there.

mod servers;
