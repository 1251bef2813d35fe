package chart

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/tools/chart/internal/values"
)

var update = flag.Bool("update", false, "write the golden files anew")

// combinations are the values whose renderings are kept as golden files.
var combinations = map[string]string{
	"default":         "",
	"least-privilege": "{securityMode: leastPrivilege}",
	"proxy": `
httpsProxy: proxy.example.com:3128
httpsProxyNoProxy: .corp.example.com, 10.0.0.0/8
relay: {collector: {address: "collector.example.com:443"}}
networkPolicy: {enabled: true, proxyIp: 192.0.2.7, k8sApi: {port: 6443}}
prometheusAgent: {enabled: true, remoteWrite: {url: "https://metrics.example.com/write", tokenSecret: metrics-token}, externalLabels: {cluster: a}}
`,
	"monitoring": `
monitoring: {enabled: true, podMonitor: {enabled: true, labels: {release: prometheus}}, rules: {enabled: true, labels: {release: prometheus}}}
`,
	"cert-manager": "{relay: {tls: {source: certManager}}}",
	"no-relay": `
relay: {enabled: false}
interceptor: {collector: {address: "collector.example.com:443", tlsSecret: collector-tls, tokenSecret: collector-token}, maskHeaders: [x-secret], extraEnv: [{name: A, value: b}]}
capture: {interfaces: [], filter: "tcp and not port 22", parameters: {dir: in, cutoff: 64k}}
httpsProxy: http://[2001:db8::1]:8080
httpsProxySecret: proxy
`,
	"sinks": `
httpsProxy: proxy.example.com:3128
networkPolicy: {enabled: true, proxyIp: 192.0.2.7, extraEgress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}], ports: [{port: 9093, protocol: TCP}]}]}
interceptor:
  output: none
  configSecrets: [kafka]
  config:
    max_connections: 100000
    rules: [{deny: {path: /healthz}}]
    sinks:
      - name: events
        spool_dir: /var/lib/capstan/events
        spool_bytes: 536870912
        kafka:
          brokers: ["kafka.example.com:9093"]
          topic: http-exchanges
          tls: {enabled: true, ca: /etc/capstan/secrets/kafka/ca.crt}
          sasl: {mechanism: scram-sha-512, user: capstan, password_file: /etc/capstan/secrets/kafka/password}
`,
	"config-secret": "{relay: {enabled: false}, interceptor: {existingConfigSecret: capstan-config}}",
	"wireshark":     "{rpcapd: {wireshark: {enabled: true, tlsSecret: rpcapd-tls, credentialsSecret: rpcapd-users}}}",
	"everything-set": `
image: {registry: registry.example.com/team, tag: v9, pullSecrets: [pull]}
rpcapd: {image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}, extraArgs: [-D], extraVolumeMounts: [{name: more, mountPath: /more}]}
daemonSet:
  podAnnotations: {a: b}
  podLabels: {c: d}
  nodeSelector: {kubernetes.io/os: linux}
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: x, operator: Exists}]}]}}}
  priorityClassName: system-node-critical
  extraVolumes: [{name: more, emptyDir: {}}]
relay:
  existingClaim: records
  extraArgs: [--drain-timeout=20s]
  extraEnv: [{name: A, value: b}]
  nodeSelector: {pool: infra}
  tolerations: [{key: dedicated, operator: Exists}]
  priorityClassName: high
  collector: {address: "collector.example.com:4417", serverName: other.example.com, tlsSecret: collector-tls, tokenSecret: collector-token}
`,
}

// TestGolden holds what each combination is rendered to, and that every object
// is one of its kind.
func TestGolden(t *testing.T) {
	for name, text := range combinations {
		t.Run(name, func(t *testing.T) {
			rendered := renderText(t, text)
			decode(t, rendered)
			got := stable(strings.Join(rendered.Objects, "---\n")) + "--- notes\n" + rendered.Notes
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s from here on (go test -update writes it anew):\n%s", path, firstDifference(got, string(want)))
			}
		})
	}
}

// firstDifference returns the lines of got from the first that differs on.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return strings.Join(g[i:min(i+5, len(g))], "\n")
		}
	}
	return "(it is shorter)"
}

// TestSchemaRefuses holds that values which are misspelt or out of range are
// refused by name.
func TestSchemaRefuses(t *testing.T) {
	c, err := Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"{htpsProxy: a}":                                                                            "htpsProxy",
		"{relay: {colector: {}}}":                                                                   "colector",
		"{networkPolicy: {k8sApi: {prt: 1}}}":                                                       "prt",
		"{rpcapd: {seccompProfile: {type: Unconfined}}}":                                            "seccompProfile",
		"{securityMode: none}":                                                                      "securityMode",
		"{hostNetwork: 'yes'}":                                                                      "hostNetwork",
		"{httpsProxy: 'user:secret@proxy:1'}":                                                       "httpsProxy",
		"{httpsProxy: 'socks5://proxy:1'}":                                                          "httpsProxy",
		"{monitoring: {relayPort: 70000}}":                                                          "relayPort",
		"{capture: {interfaces: ['eth0&dir=in']}}":                                                  "interfaces",
		"{image: {pullPolicy: Sometimes}}":                                                          "pullPolicy",
		"{capture: {parameters: {if: eth0}}}":                                                       "capture.parameters.if",
		"{rpcapd: {wireshark: {enabled: true}}}":                                                    "rpcapd.wireshark.tlsSecret",
		"{relay: {tls: {source: existingSecret}}}":                                                  "relay.tls",
		"{interceptor: {collector: {address: 'a:1'}}}":                                              "relay.enabled",
		"{interceptor: {config: {max_conections: 1}}}":                                              "max_conections",
		"{interceptor: {config: {sinks: [{kafka: {topics: a}}]}}}":                                  "topics",
		"{interceptor: {config: {body_limit: 1}}}":                                                  "interceptor.config.body_limit",
		"{interceptor: {config: {flows: true}, existingConfigSecret: a}}":                           "existingConfigSecret",
		"{interceptor: {config: {sinks: [{collector: {address: 'a:1'}}]}}}":                         "another name than collector",
		"{prometheusAgent: {enabled: true}}":                                                        "remoteWrite.url",
		"{httpsProxySecret: s, relay: {collector: {address: 'a:1'}}}":                               "httpsProxy must be set",
		"{networkPolicy: {enabled: true}, httpsProxy: proxy, relay: {collector: {address: 'a:1'}}}": "networkPolicy.proxyIp",
	} {
		if _, err := c.Render(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: want an error about %s, got %v", text, says, err)
		}
	}
}

// TestEveryValueIsUsed holds that no value is there for nothing.
func TestEveryValueIsUsed(t *testing.T) {
	f, err := values.Read(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var templates strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		templates.Write(text)
	}
	for _, v := range f.Values {
		key := v.Path[strings.LastIndex(v.Path, ".")+1:]
		if !strings.Contains(templates.String(), "."+key) {
			t.Errorf("no template uses %s", v.Path)
		}
	}
}
