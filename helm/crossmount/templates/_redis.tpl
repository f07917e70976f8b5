{{/* The name of everything around the chart's Valkey. */}}
{{- define "crossmount.valkey" -}}
{{- printf "%s-valkey" (include "crossmount.fullname" .) -}}
{{- end -}}

{{/* The Secret with its password and the key of fingerprints. */}}
{{- define "crossmount.valkeySecret" -}}
{{- .Values.valkey.existingSecret | default (include "crossmount.valkey" .) -}}
{{- end -}}

{{/* Valkey's pod: not one of those that crossmount's Services lead to. */}}
{{- define "crossmount.valkeySelector" -}}
app.kubernetes.io/name: {{ include "crossmount.name" . }}-valkey
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "crossmount.valkeyLabels" -}}
{{ include "crossmount.valkeySelector" . }}
app.kubernetes.io/component: valkey
app.kubernetes.io/part-of: {{ include "crossmount.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
What crossmount's container needs for discovery.redis, as YAML: env and volumeMounts. Both are empty
lists without a Redis or Valkey. Nothing of it is in crossmount.yaml, which is in a ConfigMap.
*/}}
{{- define "crossmount.redis" -}}
{{- if .Values.valkey.enabled -}}
{{- $secret := include "crossmount.valkeySecret" . -}}
env:
  - name: VALKEY_PASSWORD
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: password
  - name: CROSSMOUNT_DISCOVERY_REDIS_URL
    value: redis://crossmount:$(VALKEY_PASSWORD)@{{ include "crossmount.valkey" . }}:6379
  - name: CROSSMOUNT_DISCOVERY_REDIS_FINGERPRINT_KEY
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: fingerprint-key
volumeMounts: []
{{- else if .Values.redis.urlSecret -}}
env:
  - name: CROSSMOUNT_DISCOVERY_REDIS_URL
    valueFrom:
      secretKeyRef:
        name: {{ .Values.redis.urlSecret }}
        key: url
  - name: CROSSMOUNT_DISCOVERY_REDIS_FINGERPRINT_KEY
    valueFrom:
      secretKeyRef:
        name: {{ .Values.redis.urlSecret }}
        key: fingerprint-key
        optional: true
  {{- if .Values.redis.caSecret }}
  - name: CROSSMOUNT_DISCOVERY_REDIS_CA_CERTIFICATE
    value: /etc/crossmount-redis/ca.crt
volumeMounts:
  - name: redis-ca
    mountPath: /etc/crossmount-redis
    readOnly: true
  {{- else }}
volumeMounts: []
  {{- end }}
{{- else -}}
env: []
volumeMounts: []
{{- end -}}
{{- end -}}

{{/* Values for Redis or Valkey that cannot work, or would show a secret. */}}
{{- define "crossmount.checkRedis" -}}
{{- $values := .Values -}}
{{- $configuration := include "crossmount.own" . | fromYaml -}}
{{- $used := "" -}}
{{- if $values.valkey.enabled -}}
{{- $used = "valkey.enabled" -}}
{{- if $values.redis.urlSecret -}}
{{- fail "valkey.enabled and redis.urlSecret: crossmount uses one Redis or Valkey" -}}
{{- end -}}
{{- else if $values.redis.urlSecret -}}
{{- $used = "redis.urlSecret" -}}
{{- end -}}
{{- if and $values.redis.caSecret (not $values.redis.urlSecret) -}}
{{- fail "redis.caSecret needs redis.urlSecret: the Valkey of this chart has no TLS" -}}
{{- end -}}
{{- if and $used (not (dig "discovery" "enabled" false $configuration)) -}}
{{- fail (printf "%s needs crossmount.config.discovery.enabled: replicas share what discovery learns" $used) -}}
{{- end -}}
{{- $given := dig "discovery" "redis" dict ($values.crossmount.config | default dict) | default dict -}}
{{- if $given.fingerprint_key -}}
{{- fail "crossmount.config.discovery.redis.fingerprint_key cannot be set: it would be in a ConfigMap. Put it into a Secret, and name this in redis.urlSecret" -}}
{{- end -}}
{{- if contains "@" (toString ($given.url | default "")) -}}
{{- fail "crossmount.config.discovery.redis.url cannot have a password: it would be in a ConfigMap. Put the URL into a Secret, and name this in redis.urlSecret" -}}
{{- end -}}
{{- if $used -}}
{{- range $key := list "url" "ca_certificate" -}}
{{- if hasKey $given $key -}}
{{- fail (printf "crossmount.config.discovery.redis.%s must be left out: it comes from %s" $key $used) -}}
{{- end -}}
{{- end -}}
{{- range $values.crossmount.extraEnv -}}
{{- if regexMatch "^(VALKEY_PASSWORD|CROSSMOUNT_DISCOVERY_REDIS_(URL|FINGERPRINT_KEY|CA_CERTIFICATE))$" .name -}}
{{- fail (printf "crossmount.extraEnv cannot have %s: it comes from %s" .name $used) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.valkey.enabled $given.prefix (ne (toString $given.prefix) "crossmount:") -}}
{{- fail "crossmount.config.discovery.redis.prefix must be left out with valkey.enabled: its login may use no other keys" -}}
{{- end -}}
{{- end -}}
