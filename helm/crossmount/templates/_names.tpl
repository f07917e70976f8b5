{{/* The chart's name, or its override. */}}
{{- define "crossmount.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of everything in a release. 52 characters leave room for a pod's suffix. */}}
{{- define "crossmount.fullname" -}}
{{- $name := include "crossmount.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- else -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "crossmount.selector" -}}
app.kubernetes.io/name: {{ include "crossmount.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "crossmount.labels" -}}
{{ include "crossmount.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The name of the pod's ServiceAccount; nothing: that of the namespace. */}}
{{- define "crossmount.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "crossmount.fullname" .) "" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* The pod of helm test: not one of those that the Services lead to. */}}
{{- define "crossmount.testSelector" -}}
app.kubernetes.io/name: {{ include "crossmount.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
