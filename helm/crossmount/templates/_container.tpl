{{/*
For other charts: crossmount's container, as an item of a list. In a dictionary it takes

  settings       a map like this chart's crossmount: image, nativeSidecar, resources, and what is
                 extra: extraEnv, extraEnvFrom, extraVolumeMounts
  configuration  the text of crossmount.yaml, as "crossmount.configuration" makes it
  configVolume   the volume that holds this text as crossmount.yaml
  volumeMounts   a list: the registry's store at the registry's own path, and other files that are read
  user, group    the registry's
  capabilities   .Capabilities

With settings.nativeSidecar it belongs under initContainers, else under containers.
*/}}
{{- define "crossmount.container" -}}
{{- $settings := .settings -}}
{{- $configuration := fromYaml .configuration -}}
{{- if and $settings.nativeSidecar (semverCompare "<1.29.0-0" .capabilities.KubeVersion.Version) -}}
{{- fail (printf "crossmount.nativeSidecar needs Kubernetes 1.29 or newer and this is %s: set it to false" .capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\])?:[0-9]+$" $configuration.admin.address) -}}
{{- fail (printf "crossmount.config.admin.address must be like :9500, because probes come from outside the pod: it is %s" $configuration.admin.address) -}}
{{- end -}}
- name: crossmount
  image: {{ printf "%s:%s" $settings.image.repository $settings.image.tag | quote }}
  imagePullPolicy: {{ $settings.image.pullPolicy }}
  {{- if $settings.nativeSidecar }}
  restartPolicy: Always
  {{- end }}
  args: ["serve", "--config", "/etc/crossmount/crossmount.yaml"]
  {{- with $settings.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: registry
      containerPort: {{ include "crossmount.port" $configuration.listen.address }}
      protocol: TCP
    - name: admin
      containerPort: {{ include "crossmount.port" $configuration.admin.address }}
      protocol: TCP
  # The process alone: a native sidecar must have started before the registry is started at all.
  startupProbe:
    httpGet:
      path: /healthz
      port: admin
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  livenessProbe:
    httpGet:
      path: /healthz
      port: admin
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  # It includes the registry: /readyz asks the registry, and checks the store.
  readinessProbe:
    httpGet:
      path: /readyz
      port: admin
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 2
  securityContext:
    {{- include "crossmount.securityContext" . | nindent 4 }}
  volumeMounts:
    - name: {{ .configVolume }}
      mountPath: /etc/crossmount
      readOnly: true
    {{- with .volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $settings.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $settings.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* What a container may do that runs as this user and group: nothing but its work. */}}
{{- define "crossmount.securityContext" -}}
runAsUser: {{ int64 .user }}
runAsGroup: {{ int64 .group }}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The port of an address such as :5000. */}}
{{- define "crossmount.port" -}}
{{- . | splitList ":" | last -}}
{{- end -}}
