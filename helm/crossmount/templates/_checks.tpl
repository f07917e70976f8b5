{{/* Values that fit the schema and still cannot work. */}}
{{- define "crossmount.check" -}}
{{- $values := .Values.registry -}}
{{- $given := $values.config | default dict -}}
{{- range $key := list "addr" "net" "tls" -}}
{{- if hasKey ($given.http | default dict) $key -}}
{{- fail (printf "registry.config.http.%s cannot be set: the registry listens on the pod's loopback for crossmount alone, on registry.port; clients come by crossmount.config.listen" $key) -}}
{{- end -}}
{{- end -}}
{{- $drivers := without (keys ($given.storage | default dict)) "cache" "delete" "maintenance" "redirect" "tag" | sortAlpha -}}
{{- range $driver := without $drivers "filesystem" "s3" "azure" "gcs" -}}
{{- fail (printf "registry.config.storage.%s cannot be used: the storage must be filesystem, s3, azure or gcs" $driver) -}}
{{- end -}}
{{- if gt (len $drivers) 1 -}}
{{- fail (printf "the registry takes one kind of storage, these are several: %s" (join ", " $drivers)) -}}
{{- end -}}
{{- $driver := include "crossmount.driver" $given.storage | default "filesystem" -}}
{{- include "crossmount.checkBucket" (dict "driver" $driver "values" .Values) -}}

{{- $registry := include "crossmount.registry" . | fromYaml -}}
{{- $auth := $registry.auth | default dict -}}
{{- if gt (len $auth) 1 -}}
{{- fail (printf "the registry takes one kind of login, these are several: %s" (keys $auth | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if and $values.htpasswdSecret $values.tokenBundleSecret -}}
{{- fail "registry.htpasswdSecret and registry.tokenBundleSecret: the registry takes one kind of login" -}}
{{- end -}}
{{- if $values.tokenBundleSecret -}}
{{- range $key := list "realm" "issuer" "service" -}}
{{- if not (get $auth.token $key) -}}
{{- fail (printf "registry.tokenBundleSecret needs registry.config.auth.token.%s" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $config := .Values.crossmount.config | default dict -}}
{{- $follows := include "crossmount.configuration" (dict "registry" $registry) | fromYaml -}}
{{- if ne $follows.upstream.url (dig "upstream" "url" $follows.upstream.url $config) -}}
{{- fail (printf "crossmount.config.upstream.url must be left out: the registry of this chart is %s" $follows.upstream.url) -}}
{{- end -}}
{{- if eq $driver "filesystem" -}}
{{- $root := $follows.store.filesystem.rootdirectory -}}
{{- if ne $root (dig "store" "filesystem" "rootdirectory" $root $config) -}}
{{- fail (printf "crossmount.config.store.filesystem.rootdirectory must be left out: it is the registry's, %s" $root) -}}
{{- end -}}
{{- end -}}

{{- $configuration := include "crossmount.own" . | fromYaml -}}
{{- if eq (dig "mount" "writer" "store" $configuration) "registry" -}}
{{- range $path := list "store.filesystem" "store.durability" "store.verify" "store.verify_rate" "access.htpasswd" "access.token" "access.decision_ttl" "mount.dry_run" "notifications.endpoints" "upstream.external_url" "upstream.relative_urls" "upstream.response_headers" -}}
{{- $section := first (splitList "." $path) -}}
{{- $key := last (splitList "." $path) -}}
{{- with dig $section $key "" $config -}}
{{- fail (printf "crossmount.config.%s is of no use with mount.writer: registry, because crossmount writes no links then" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $of, $address := dict "listen" $configuration.listen.address "admin" $configuration.admin.address -}}
{{- if eq (include "crossmount.port" $address) (toString (int $values.port)) -}}
{{- fail (printf "registry.port cannot be %d: it is the port of crossmount.config.%s.address" (int $values.port) $of) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $configuration.listen.address -}}
{{- fail (printf "crossmount.config.listen.address must be like :5000, because clients come from outside the pod: it is %s" $configuration.listen.address) -}}
{{- end -}}

{{- include "crossmount.checkRedis" . -}}

{{- $own := list "registry-config" "crossmount-config" "registry-auth" "redis-ca" -}}
{{- if eq $driver "filesystem" -}}
{{- $own = append $own "data" -}}
{{- end -}}
{{- $volumes := $own -}}
{{- range .Values.extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "extraVolumes: the pod has a volume %s already" .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range $container := list "crossmount" "registry" -}}
{{- $settings := index $.Values $container -}}
{{- range $settings.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "%s.extraVolumeMounts: no volume is called %s; it belongs into extraVolumes" $container .name) -}}
{{- end -}}
{{- end -}}
{{- range $settings.extraEnv -}}
{{- $isSecret := regexMatch "^(REGISTRY_STORAGE|CROSSMOUNT_STORE)_(S3_(ACCESSKEY|SECRETKEY|SESSIONTOKEN)|AZURE_(ACCOUNTKEY|CREDENTIALS_SECRET))$" .name -}}
{{- if and (not $isSecret) (regexMatch "^(CROSSMOUNT_(LISTEN|ADMIN|UPSTREAM_URL|STORE_(FILESYSTEM|S3|AZURE|GCS)|MOUNT_WRITER|ACCESS_(MODE|HTPASSWD|TOKEN))|REGISTRY_(HTTP_(ADDR|NET|TLS|HOST|PREFIX|RELATIVEURLS|HEADERS)|STORAGE_(FILESYSTEM|S3|S3AWS|GCS|AZURE|SWIFT|OSS|INMEMORY)|AUTH))(_|$)|^REGISTRY_STORAGE$" .name) -}}
{{- fail (printf "%s.extraEnv cannot have %s: say it in %s.config, by which the two containers agree" $container .name $container) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $tls := $configuration.listen.tls | default dict -}}
{{- range .Values.crossmount.extraVolumeMounts -}}
{{- if or .subPath .subPathExpr -}}
{{- $directory := printf "%s/" (trimSuffix "/" (.mountPath | default "")) -}}
{{- range $key := list "certificate" "key" -}}
{{- if hasPrefix $directory (printf "%s/" (get $tls $key)) -}}
{{- fail (printf "crossmount.extraVolumeMounts: mount the directory of listen.tls.%s without subPath, or a renewed certificate never reaches the pod" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled: Prometheus would count everything twice" -}}
{{- end -}}

{{- /* Only seconds are compared: "10s", not "1m". */ -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- $preStop := int $values.preStopSeconds -}}
{{- $drains := include "crossmount.seconds" (dig "http" "draintimeout" "" $registry) | int -}}
{{- if le $grace (add $preStop $drains | int) -}}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be more than registry.preStopSeconds (%d) and registry.config.http.draintimeout (%d) together, or the pod is killed while it drains" $grace $preStop $drains) -}}
{{- end -}}
{{- $timeout := include "crossmount.seconds" (dig "shutdown" "timeout" "25s" $config) | int -}}
{{- if ge $timeout $grace -}}
{{- fail (printf "crossmount.config.shutdown.timeout (%ds) must be less than terminationGracePeriodSeconds (%d)" $timeout $grace) -}}
{{- end -}}
{{- if and (not .Values.crossmount.nativeSidecar) (ge $timeout $preStop) -}}
{{- fail (printf "crossmount.config.shutdown.timeout (%ds) must be less than registry.preStopSeconds (%d), or the registry is gone while crossmount drains" $timeout $preStop) -}}
{{- end -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- if and (eq $driver "filesystem") (not (and .Values.persistence.enabled (has "ReadWriteMany" .Values.persistence.accessModes))) -}}
{{- fail "replicaCount above 1 needs a volume for all of them (persistence.enabled and accessModes with ReadWriteMany), or storage in an object store" -}}
{{- end -}}
{{- if not (or $values.httpSecret (dig "http" "secret" "" $given)) -}}
{{- fail "replicaCount above 1 needs registry.httpSecret: an upload that begins at one replica may go on at another" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Values for an object store that cannot work. */}}
{{- define "crossmount.checkBucket" -}}
{{- $driver := .driver -}}
{{- $settings := dig "storage" $driver dict (.values.registry.config | default dict) | default dict -}}
{{- $config := .values.crossmount.config | default dict -}}
{{- range $other := without (list "s3" "azure" "gcs") $driver -}}
{{- if dig "store" $other dict $config -}}
{{- fail (printf "crossmount.config.store.%s must be left out: the registry's storage is %s" $other $driver) -}}
{{- end -}}
{{- end -}}
{{- if ne $driver "filesystem" -}}
{{- range $key := get (dict "s3" (list "bucket" "region") "azure" (list "accountname" "container") "gcs" (list "bucket")) $driver -}}
{{- if not (get $settings $key) -}}
{{- fail (printf "registry.config.storage.%s.%s is missing: the registry does not start without it" $driver $key) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "bucket" "accountname" "container" "rootdirectory" -}}
{{- if hasKey (dig "store" $driver dict $config) $key -}}
{{- fail (printf "crossmount.config.store.%s.%s must be left out: it is the registry's" $driver $key) -}}
{{- end -}}
{{- end -}}
{{- range $place, $given := dict "registry.config.storage" $settings "crossmount.config.store" (dig "store" $driver dict $config) -}}
{{- range $key := list "secretkey" "sessiontoken" "accountkey" "connectionstring" -}}
{{- if get $given $key -}}
{{- fail (printf "%s.%s.%s cannot be set: it would be in a ConfigMap. Put it into a Secret, and name this in extraEnv or extraEnvFrom" $place $driver $key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $driver "azure") (dig "credentials" "secret" "" $given) -}}
{{- fail (printf "%s.azure.credentials.secret cannot be set: it would be in a ConfigMap. Put it into a Secret, and name this in extraEnv or extraEnvFrom" $place) -}}
{{- end -}}
{{- if and (eq $driver "gcs") $given.credentials -}}
{{- fail (printf "%s.gcs.credentials cannot be set: it would be in a ConfigMap. Put the key's file into a Secret, mount it into both containers, and name it in registry.config.storage.gcs.keyfile" $place) -}}
{{- end -}}
{{- end -}}
{{- if eq (toString $settings.v4auth) "false" -}}
{{- fail "registry.config.storage.s3.v4auth cannot be false: crossmount signs its requests with version 4 alone" -}}
{{- end -}}
{{- if eq (dig "mount" "writer" "" $config) "store" -}}
{{- fail (printf "crossmount.config.mount.writer cannot be store: the registry's storage is %s, in which crossmount writes nothing" $driver) -}}
{{- end -}}
{{- if .values.persistence.existingClaim -}}
{{- fail (printf "persistence.existingClaim is of no use: the registry's storage is %s, so the pod has no volume" $driver) -}}
{{- end -}}
{{- end -}}
{{- if and .values.serviceAccount.annotations (not .values.serviceAccount.create) -}}
{{- fail "serviceAccount.annotations needs serviceAccount.create: the chart changes no ServiceAccount that it did not make" -}}
{{- end -}}
{{- end -}}

{{/* The number of a duration such as 25s; 0 for any other form. */}}
{{- define "crossmount.seconds" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+s$" $text -}}{{- trimSuffix "s" $text -}}{{- else -}}0{{- end -}}
{{- end -}}
