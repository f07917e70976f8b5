{{/*
For other charts: the text of crossmount.yaml, for a crossmount beside a registry. In a dictionary
it takes

  registry   the registry's configuration as a map: http.addr, storage, auth, …
  config     settings of crossmount's own that win over what follows from it
  version    2 or 3, the registry's; 2 if left out
  authFiles  true where crossmount has auth.htpasswd.path or auth.token.rootcertbundle under the
             same path as the registry, and so can decide itself

crossmount writes links into a storage of the driver filesystem. With any other driver, or with
config.mount.writer: registry, the registry writes them, and crossmount needs no volume and no file.
*/}}
{{- define "crossmount.configuration" -}}
{{- $http := .registry.http -}}
{{- $config := deepCopy (.config | default dict) -}}
{{- $version := .version | default 2 | int -}}
{{- $driver := include "crossmount.driver" .registry.storage -}}
{{- $writer := dig "mount" "writer" "" $config | default (ternary "store" "registry" (eq $driver "filesystem")) -}}
{{- $links := eq $writer "store" -}}
{{- $upstream := dict "url" (printf "http://127.0.0.1:%s" (include "crossmount.port" $http.addr)) -}}
{{- $names := dict "prefix" "prefix" -}}
{{- if $links -}}
{{- $_ := set $upstream "version" $version -}}
{{- /* What the registry says about itself, its mounts by crossmount must say too. */ -}}
{{- $names = dict "host" "external_url" "relativeurls" "relative_urls" "prefix" "prefix" "headers" "response_headers" -}}
{{- end -}}
{{- range $theirs, $ours := $names -}}
{{- with get $http $theirs -}}
{{- $_ := set $upstream $ours . -}}
{{- end -}}
{{- end -}}
{{- $auth := omit (.registry.auth | default dict) "none" -}}
{{- $mode := dig "access" "mode" "" $config -}}
{{- if not $mode -}}
{{- $mode = ternary "upstream" "none" (not (empty $auth)) -}}
{{- if or .authFiles (not $links) -}}
{{- $mode = ternary "htpasswd" (ternary "token" $mode (hasKey $auth "token")) (hasKey $auth "htpasswd") -}}
{{- end -}}
{{- end -}}
{{- $access := dict "mode" $mode -}}
{{- if and $links .authFiles (eq $mode "htpasswd") (hasKey $auth "htpasswd") -}}
{{- $_ := set $access "htpasswd" (pick $auth.htpasswd "path") -}}
{{- else if and $links .authFiles (eq $mode "token") (hasKey $auth "token") -}}
{{- $_ := set $access "token" (pick $auth.token "issuer" "service" "rootcertbundle" "jwks" "signingalgorithms") -}}
{{- end -}}
{{- $follows := dict
      "listen" (dict "address" ":5000")
      "admin" (dict "address" ":9500")
      "upstream" $upstream
      "access" $access -}}
{{- if $links -}}
{{- $_ := set $follows "store" (dict "filesystem" (pick (.registry.storage.filesystem | default dict) "rootdirectory")) -}}
{{- else -}}
{{- $_ := set $follows "mount" (dict "writer" "registry") -}}
{{- with include "crossmount.bucket" (dict "driver" $driver "settings" (get .registry.storage $driver | default dict) "version" $version) -}}
{{- $_ := set $follows "store" (dict $driver (fromYaml .)) -}}
{{- $_ := set $upstream "version" $version -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $follows $config) -}}
{{- end -}}

{{/* The driver in the registry's section "storage", or nothing. */}}
{{- define "crossmount.driver" -}}
{{- range $at, $driver := without (keys (. | default dict)) "cache" "delete" "maintenance" "redirect" "tag" | sortAlpha -}}
{{- if eq $at 0 -}}{{- $driver -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Where crossmount lists the objects of the registry's storage, as YAML; nothing for a driver that it
does not list. Without credentials: crossmount gets its own, by its environment.
*/}}
{{- define "crossmount.bucket" -}}
{{- $two := eq .version 2 -}}
{{- /* What the driver of distribution 2 does not know, it does not heed. */ -}}
{{- $keys := list -}}
{{- if eq .driver "s3" -}}
{{- $newer := list "forcepathstyle" "usedualstack" "usefipsendpoint" -}}
{{- $keys = concat (list "bucket" "region" "regionendpoint" "rootdirectory" "secure" "skipverify") (ternary list $newer $two) -}}
{{- else if eq .driver "azure" -}}
{{- $newer := list "serviceurl" "rootdirectory" "skipverify" "credentials" -}}
{{- $keys = concat (list "accountname" "container" "realm") (ternary list $newer $two) -}}
{{- else if eq .driver "gcs" -}}
{{- $keys = list "bucket" "rootdirectory" "keyfile" -}}
{{- end -}}
{{- $bucket := dict -}}
{{- range $key := $keys -}}
{{- if hasKey $.settings $key -}}
{{- $_ := set $bucket $key (get $.settings $key) -}}
{{- end -}}
{{- end -}}
{{- with $bucket -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* The registry's configuration in this chart, as YAML: the values, and what is not theirs to say. */}}
{{- define "crossmount.registry" -}}
{{- $values := .Values.registry -}}
{{- $given := deepCopy ($values.config | default dict) -}}
{{- $storage := dict -}}
{{- if has (include "crossmount.driver" $given.storage) (list "" "filesystem") -}}
{{- $storage = dict "filesystem" (dict "rootdirectory" "/var/lib/registry") -}}
{{- end -}}
{{- $config := mergeOverwrite
      (dict "version" 0.1 "storage" $storage)
      $given
      (dict "http" (dict "addr" (printf "127.0.0.1:%d" (int $values.port)))) -}}
{{- if $values.htpasswdSecret -}}
{{- $htpasswd := dict "realm" "registry" "path" "/etc/registry-auth/htpasswd" -}}
{{- $_ := set $config "auth" (mergeOverwrite (dict "htpasswd" $htpasswd) ($config.auth | default dict)) -}}
{{- else if $values.tokenBundleSecret -}}
{{- $token := dict "rootcertbundle" "/etc/registry-auth/bundle.pem" -}}
{{- $_ := set $config "auth" (mergeOverwrite (dict "token" $token) ($config.auth | default dict)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* crossmount.yaml in this chart. Only a tag of 2 says so: latest, edge and the like are 3 by now. */}}
{{- define "crossmount.own" -}}
{{- $config := deepCopy (.Values.crossmount.config | default dict) -}}
{{- if .Values.crossmount.nativeSidecar -}}
{{- /* It gets its signal after the registry has ended: its delay is a part of the registry's hook. */ -}}
{{- $_ := set $config "shutdown" (merge (dict "drain_delay" "0s") (get $config "shutdown" | default dict)) -}}
{{- end -}}
{{- include "crossmount.configuration" (dict
      "registry" (include "crossmount.registry" . | fromYaml)
      "config" $config
      "version" (ternary 2 3 (regexMatch "^v?2([^0-9]|$)" .Values.registry.image.tag))
      "authFiles" (or .Values.registry.htpasswdSecret .Values.registry.tokenBundleSecret)) -}}
{{- end -}}
