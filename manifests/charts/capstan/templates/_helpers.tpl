{{/* Names. */}}
{{- define "capstan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "capstan.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "capstan.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What selects all pods of the release; with (dict "root" $ "component" "relay") those of one component. */}}
{{- define "capstan.releaseLabels" -}}
app.kubernetes.io/name: {{ include "capstan.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "capstan.selectorLabels" -}}
{{ include "capstan.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "capstan.labels" -}}
{{ include "capstan.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: capstan
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Metadata of an object: (dict "root" $ "component" "relay" "suffix" "-tls"). */}}
{{- define "capstan.metadata" -}}
name: {{ include "capstan.fullname" .root }}-{{ .component }}{{ get . "suffix" }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "capstan.labels" . | nindent 2 }}
{{- end }}

{{/* One of Capstan's images: (dict "root" $ "image" .Values.relay.image). */}}
{{- define "capstan.image" -}}
{{- $name := .image.repository }}
{{- with .root.Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .root.Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Scheduling of a pod from a component's values. */}}
{{- define "capstan.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The security context of every container that needs nothing of its host: the user's number. */}}
{{- define "capstan.restricted" -}}
runAsUser: {{ . }}
runAsGroup: {{ . }}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "capstan.leastPrivilege" -}}
{{- if eq .Values.securityMode "leastPrivilege" }}yes{{ end }}
{{- end }}

{{/* Whether metrics are served. */}}
{{- define "capstan.monitoring" -}}
{{- if or .Values.monitoring.enabled .Values.prometheusAgent.enabled }}yes{{ end }}
{{- end }}

{{- define "capstan.relayHost" -}}
{{ include "capstan.fullname" . }}-relay.{{ .Release.Namespace }}.svc
{{- end }}
