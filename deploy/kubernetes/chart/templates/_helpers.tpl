{{- /* Labels that selectors use, of the replicas or of another component: (dict "root" $ "name" NAME). */ -}}
{{- define "driftgauge.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "driftgauge.pod-labels" -}}
{{ include "driftgauge.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "driftgauge.labels" -}}
{{ include "driftgauge.pod-labels" . }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /* The name ends in a hash of the content, so a change replaces the pods one by one. */ -}}
{{- define "driftgauge.config" -}}
{{ .Release.Name }}-config-{{ .Values.config | sha256sum | trunc 10 }}
{{- end }}

{{- /* The pods' spec: (dict "root" $ "name" NAME "args" LIST). */ -}}
{{- define "driftgauge.pod" -}}
serviceAccountName: {{ .root.Release.Name }}
automountServiceAccountToken: false
# Otherwise Kubernetes sets variables for the Service whose names begin with DRIFTGAUGE_, as the settings do.
enableServiceLinks: false
# After SIGTERM a running call may hang for 15 s. The hand-over takes 4 s at most, its abort 4 s, the HTTP server 2 s. The
# rest is for leaving the groups. All of it usually takes less than a second.
terminationGracePeriodSeconds: 45
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Lets the service read the baselines on a volume, and an init container write them.
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  # Two replicas on one node are better than a pending one.
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "driftgauge.selector" $ | nindent 8 }}
  {{- end }}
{{- with .root.Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: driftgauge
    image: {{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
    args:
      {{- toYaml .args | nindent 6 }}
    # The last line of the log says why the process ends; `kubectl describe pod` shows it.
    terminationMessagePolicy: FallbackToLogsOnError
    env:
      - name: DRIFTGAUGE_REPLICA
        valueFrom:
          fieldRef:
            fieldPath: metadata.name
      - name: DRIFTGAUGE_SECRETS_DIR
        value: /run/secrets/driftgauge
      {{- if .root.Values.page.enabled }}
      # The pods that serve the page alone do so whatever this says.
      - name: DRIFTGAUGE_PAGE__ENABLED
        value: "false"
      {{- end }}
    ports:
      - name: metrics
        containerPort: 9464
      # Without TLS and login; no Service has it.
      - name: health
        containerPort: 9465
    resources:
      {{- toYaml .root.Values.resources | nindent 6 }}
    # The server starts when the baselines are loaded, about a second after the start on a free core. The probe asks for
    # no more: a shard may wait for a transaction's time-out or for brokers, and a restart helps neither.
    startupProbe:
      httpGet: {path: /livez, port: health}
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 30
    # Fails after 60 s without a poll, with or without brokers. After three failures, some two minutes, the pod restarts;
    # by then Kafka has given its partitions to other replicas (max.poll.interval.ms, 30 s).
    livenessProbe:
      httpGet: {path: /livez, port: health}
      periodSeconds: 20
      timeoutSeconds: 5
      failureThreshold: 3
    # Ready with baselines loaded, working Kafka clients of both roles, and a correct clock. A stopped shard has an alert
    # and does not delay an update. Readiness delays the next step of an update, and evictions, but not scrapes: Prometheus
    # also scrapes a replica that is not ready, and its alerts need that.
    readinessProbe:
      httpGet: {path: /readyz, port: health}
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 2
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      # A file of its own, so that the baselines' folder can stand beside it.
      - name: config
        mountPath: /etc/driftgauge/driftgauge.yaml
        subPath: driftgauge.yaml
        readOnly: true
      {{- if .root.Values.baselines }}
      - name: baselines
        mountPath: /etc/driftgauge/baselines
        readOnly: true
      {{- end }}
      - name: secrets
        mountPath: /run/secrets/driftgauge
        readOnly: true
      {{- with .root.Values.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "driftgauge.config" .root }}
  {{- with .root.Values.baselines }}
  - name: baselines
    {{- toYaml . | nindent 4 }}
  {{- end }}
  - name: secrets
    projected:
      sources:
        {{- range .root.Values.secrets }}
        - secret:
            {{- toYaml . | nindent 12 }}
        {{- end }}
  {{- with .root.Values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* What a NetworkPolicy allows: (dict "from" PEERS "egress" RULES). */ -}}
{{- define "driftgauge.policy" -}}
policyTypes: [Ingress{{ if .egress }}, Egress{{ end }}]
ingress:
  - from:
      {{- toYaml .from | nindent 6 }}
    ports:
      - port: metrics
        protocol: TCP
{{- with .egress }}
egress:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "driftgauge.monitoring-labels" -}}
{{ include "driftgauge.labels" (dict "root" . "name" "driftgauge") }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
