{{- define "tintype.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 48 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tintype.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tintype.labels" -}}
{{ include "tintype.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tintype.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "tintype.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{/* What every pod has: settings, a user that is not root, nothing that can be written but two folders. */}}
{{- define "tintype.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tintype.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "tintype.environment" -}}
- configMapRef: {name: {{ include "tintype.name" . }}}
- secretRef: {name: {{ .Values.existingSecret }}}
{{- end }}

{{- define "tintype.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* A role's container; give (dict "root" $ "role" "ingest" "image" IMAGE). */}}
{{- define "tintype.container" -}}
- name: {{ .role }}
  image: {{ .image }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [{{ .role }}]
  envFrom:
    {{- include "tintype.environment" .root | nindent 4 }}
  {{- if eq .role "processor" }}
  env:
    - name: TINTYPE_KAFKA_INSTANCE
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- end }}
  ports:
    - {name: http, containerPort: 8080}
  securityContext:
    {{- include "tintype.containerSecurity" .root | nindent 4 }}
  # Not ready while Kafka, the store or the catalog is away: no requests, but no restart either.
  readinessProbe:
    httpGet: {path: /readyz, port: http}
    periodSeconds: 5
    timeoutSeconds: 4
  livenessProbe:
    httpGet: {path: /healthz, port: http}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  startupProbe:
    httpGet: {path: /healthz, port: http}
    periodSeconds: 2
    failureThreshold: 60
  volumeMounts:
    - {name: data, mountPath: /var/lib/tintype}
    - {name: tmp, mountPath: /tmp}
{{- end }}
