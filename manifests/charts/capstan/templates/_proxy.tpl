{{/* The parts of httpsProxy as a dictionary in YAML: scheme, host (without brackets), port; nothing if there is none. */}}
{{- define "capstan.proxyParts" -}}
{{- with .Values.httpsProxy | trimSuffix "/" }}
{{- $scheme := "http" }}
{{- $rest := . }}
{{- if contains "://" . }}
{{- $scheme = regexReplaceAll "://.*" . "" }}
{{- $rest = regexReplaceAll "^[a-z]+://" . "" }}
{{- end }}
{{- $port := ternary "443" "80" (eq $scheme "https") }}
{{- if regexMatch ":[0-9]+$" (regexReplaceAll "^\\[.*\\]" $rest "") }}
{{- $port = regexFind "[0-9]+$" $rest }}
{{- $rest = regexReplaceAll ":[0-9]+$" $rest "" }}
{{- end }}
scheme: {{ $scheme }}
host: {{ $rest | trimPrefix "[" | trimSuffix "]" | quote }}
port: {{ $port }}
{{- end }}
{{- end }}

{{/* The proxy as a URL. */}}
{{- define "capstan.proxyURL" -}}
{{- with include "capstan.proxyParts" . | fromYaml }}
{{- $host := .host }}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end }}
{{- printf "%s://%s:%v" .scheme $host .port }}
{{- end }}
{{- end }}

{{/* The destinations that the proxy is not for. */}}
{{- define "capstan.noProxy" -}}
{{- $list := list "localhost" "127.0.0.0/8" "::1" ".svc" (printf ".%s" .Values.clusterDomain) }}
{{- range splitList "," .Values.httpsProxyNoProxy }}
{{- with trim . }}{{ $list = append $list . }}{{ end }}
{{- end }}
{{- join "," (uniq $list) }}
{{- end }}

{{/* Environment of a container that talks to the outside. */}}
{{- define "capstan.proxyEnv" -}}
{{- if .Values.httpsProxy }}
- name: HTTPS_PROXY
  {{- if .Values.httpsProxySecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.httpsProxySecret }}
      key: httpsProxy
  {{- else }}
  value: {{ include "capstan.proxyURL" . | quote }}
  {{- end }}
- name: NO_PROXY
  value: {{ include "capstan.noProxy" . | quote }}
{{- end }}
{{- end }}

{{/* The proxy's network, for network policies. */}}
{{- define "capstan.proxyCIDR" -}}
{{- $host := (include "capstan.proxyParts" . | fromYaml).host }}
{{- $ip := .Values.networkPolicy.proxyIp }}
{{- if and (not $ip) (regexMatch "^([0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$" $host) }}
{{- $ip = $host }}
{{- end }}
{{- if not $ip }}
{{- fail (printf "networkPolicy.proxyIp: must be set, since httpsProxy has a name (%s), which policies can't" $host) }}
{{- end }}
{{- if contains "/" $ip }}
{{- $ip }}
{{- else }}
{{- printf "%s/%s" $ip (ternary "128" "32" (contains ":" $ip)) }}
{{- end }}
{{- end }}
