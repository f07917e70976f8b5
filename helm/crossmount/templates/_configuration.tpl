{{/*
For other charts: the text of crossmount.yaml, for a crossmount beside a registry. In a dictionary
it takes

  registry   the registry's configuration as a map: http.addr, storage.filesystem, auth, …
  config     settings of crossmount's own that win over what follows from it
  version    2 or 3, the registry's; 2 if left out
  authFiles  true where crossmount has auth.htpasswd.path or auth.token.rootcertbundle under the
             same path as the registry, and so can decide itself
*/}}
{{- define "crossmount.configuration" -}}
{{- $http := .registry.http -}}
{{- $upstream := dict
      "url" (printf "http://127.0.0.1:%s" (include "crossmount.port" $http.addr))
      "version" (.version | default 2 | int) -}}
{{- /* What the registry says about itself, its mounts by crossmount must say too. */ -}}
{{- range $theirs, $ours := dict "host" "external_url" "relativeurls" "relative_urls" "prefix" "prefix" "headers" "response_headers" -}}
{{- with get $http $theirs -}}
{{- $_ := set $upstream $ours . -}}
{{- end -}}
{{- end -}}
{{- $config := deepCopy (.config | default dict) -}}
{{- $auth := omit (.registry.auth | default dict) "none" -}}
{{- $mode := dig "access" "mode" "" $config -}}
{{- if not $mode -}}
{{- $mode = ternary "upstream" "none" (not (empty $auth)) -}}
{{- if .authFiles -}}
{{- $mode = ternary "htpasswd" (ternary "token" $mode (hasKey $auth "token")) (hasKey $auth "htpasswd") -}}
{{- end -}}
{{- end -}}
{{- $access := dict "mode" $mode -}}
{{- if and .authFiles (eq $mode "htpasswd") (hasKey $auth "htpasswd") -}}
{{- $_ := set $access "htpasswd" (pick $auth.htpasswd "path") -}}
{{- else if and .authFiles (eq $mode "token") (hasKey $auth "token") -}}
{{- $_ := set $access "token" (pick $auth.token "issuer" "service" "rootcertbundle" "jwks" "signingalgorithms") -}}
{{- end -}}
{{- $follows := dict
      "listen" (dict "address" ":5000")
      "admin" (dict "address" ":9500")
      "upstream" $upstream
      "store" (dict "filesystem" (pick .registry.storage.filesystem "rootdirectory"))
      "access" $access -}}
{{- toYaml (mergeOverwrite $follows $config) -}}
{{- end -}}

{{/* The registry's configuration in this chart, as YAML: the values, and what is not theirs to say. */}}
{{- define "crossmount.registry" -}}
{{- $values := .Values.registry -}}
{{- $config := mergeOverwrite
      (dict "version" 0.1 "storage" (dict "filesystem" (dict "rootdirectory" "/var/lib/registry")))
      (deepCopy ($values.config | default dict))
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
{{- include "crossmount.configuration" (dict
      "registry" (include "crossmount.registry" . | fromYaml)
      "config" .Values.crossmount.config
      "version" (ternary 2 3 (regexMatch "^v?2([^0-9]|$)" .Values.registry.image.tag))
      "authFiles" (or .Values.registry.htpasswdSecret .Values.registry.tokenBundleSecret)) -}}
{{- end -}}
