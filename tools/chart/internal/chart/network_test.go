package chart

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// proxies are values of httpsProxy, and what is to become of them.
var proxies = []struct {
	value, url, ip, cidr string // ip: networkPolicy.proxyIp
	port                 int32
}{
	{"proxy.example.com:3128", "http://proxy.example.com:3128", "192.0.2.7", "192.0.2.7/32", 3128},
	{"proxy.example.com", "http://proxy.example.com:80", "192.0.2.0/28", "192.0.2.0/28", 80},
	{"http://proxy.example.com:8080/", "http://proxy.example.com:8080", "2001:db8::7", "2001:db8::7/128", 8080},
	{"https://proxy.example.com", "https://proxy.example.com:443", "192.0.2.7", "192.0.2.7/32", 443},
	{"192.0.2.9:3128", "http://192.0.2.9:3128", "", "192.0.2.9/32", 3128},
	{"https://192.0.2.9", "https://192.0.2.9:443", "", "192.0.2.9/32", 443},
	{"[2001:db8::9]:3128", "http://[2001:db8::9]:3128", "", "2001:db8::9/128", 3128},
	{"http://[2001:db8::9]", "http://[2001:db8::9]:80", "", "2001:db8::9/128", 80},
	{"http://10.0.0.1:1", "http://10.0.0.1:1", "10.0.0.2", "10.0.0.2/32", 1},
}

func proxyValues(value, ip string) string {
	return fmt.Sprintf(`
httpsProxy: %q
httpsProxyNoProxy: "  .corp.example.com ,10.0.0.0/8,, [2001:db8:5::1]:443"
networkPolicy: {enabled: true, proxyIp: %q}
relay: {collector: {address: "collector.example.com:443"}}
prometheusAgent: {enabled: true, remoteWrite: {url: "https://metrics.example.com/write"}}
`, value, ip)
}

// TestProxyIsRendered holds the proxy's URL, its list of bypasses and its
// network policy for proxies written in every way; what the list means is
// judged by the package that the programs read it with.
func TestProxyIsRendered(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.value, func(t *testing.T) {
			o := render(t, proxyValues(p.value, p.ip))
			relay := container(t, o.deployment("relay"), "relay")
			if got := environment(relay, "HTTPS_PROXY"); got != p.url {
				t.Errorf("HTTPS_PROXY=%s, want %s", got, p.url)
			}
			checkBypasses(t, environment(relay, "HTTPS_PROXY"), environment(relay, "NO_PROXY"))
			outside := policy(t, o, "capstan-outside").Spec.Egress
			if len(outside) != 1 || len(outside[0].To) != 1 || len(outside[0].Ports) != 1 ||
				outside[0].To[0].IPBlock.CIDR != p.cidr || outside[0].Ports[0].Port.IntVal != p.port {
				t.Errorf("egress: %+v, want %s port %d only", outside, p.cidr, p.port)
			}
		})
	}
}

func checkBypasses(t *testing.T, proxy, noProxy string) {
	t.Helper()
	proxyFor := (&httpproxy.Config{HTTPSProxy: proxy, NoProxy: noProxy}).ProxyFunc()
	for destination, proxied := range map[string]bool{
		"collector.example.com:443": true, "192.0.2.50:443": true, "svc.example.com": true, "[2001:db8::5]:443": true, "11.0.0.1": true,
		"localhost": false, "127.0.0.1:4418": false, "[::1]:1": false, "capstan-relay.capstan-system.svc:4417": false,
		"x.capstan-system.svc.cluster.local": false, "a.corp.example.com": false, "10.20.30.40": false, "[2001:db8:5::1]:443": false,
	} {
		u, err := proxyFor(&url.URL{Scheme: "https", Host: destination})
		if err != nil || (u != nil) != proxied {
			t.Errorf("%s: proxy %v, %v; NO_PROXY=%s", destination, u, err, noProxy)
		}
	}
}

// TestOnlyWhatLeavesHasTheProxy holds that no other container knows of it.
func TestOnlyWhatLeavesHasTheProxy(t *testing.T) {
	for _, tc := range []struct {
		values string
		has    map[string]bool // container: has the proxy
	}{
		{proxyValues("192.0.2.9:1", ""), map[string]bool{"rpcapd": false, "interceptor": false, "relay": true, "prometheus-agent": true}},
		{"{httpsProxy: proxy}", map[string]bool{"rpcapd": false, "interceptor": false, "relay": false}},
		{"{httpsProxy: proxy, relay: {enabled: false}, interceptor: {collector: {address: 'a:1'}}}", map[string]bool{"rpcapd": false, "interceptor": true}},
		{"{httpsProxy: proxy, interceptor: {config: {sinks: [{file: {path: /var/lib/capstan/a}}]}}}", map[string]bool{"rpcapd": false, "interceptor": false, "relay": false}},
		{"{httpsProxy: proxy, interceptor: {config: {sinks: [{otlp: {endpoint: 'https://a'}}]}}}", map[string]bool{"rpcapd": false, "interceptor": true, "relay": false}},
		{"{httpsProxy: proxy, relay: {enabled: false}, interceptor: {existingConfigSecret: a}}", map[string]bool{"rpcapd": false, "interceptor": true}},
		{"{relay: {collector: {address: 'a:1'}}}", map[string]bool{"rpcapd": false, "interceptor": false, "relay": false}},
	} {
		found := 0
		for _, pod := range render(t, tc.values).pods(t) {
			for i := range pod.Containers {
				c := &pod.Containers[i]
				want, ok := tc.has[c.Name]
				if got := environment(c, "HTTPS_PROXY") != ""; !ok || got != want {
					t.Errorf("%s: %s has the proxy: %v", tc.values, c.Name, got)
				}
				found++
			}
		}
		if found != len(tc.has) {
			t.Errorf("%s: %d containers", tc.values, found)
		}
	}
}

// TestProxySecretIsNotCopied holds that the proxy's password stays in its
// secret.
func TestProxySecretIsNotCopied(t *testing.T) {
	relay := container(t, render(t, "{httpsProxy: proxy, httpsProxySecret: secret, relay: {collector: {address: 'a:1'}}}").deployment("relay"), "relay")
	for _, e := range relay.Env {
		if e.Name == "HTTPS_PROXY" {
			if e.Value != "" || e.ValueFrom.SecretKeyRef.Name != "secret" || e.ValueFrom.SecretKeyRef.Key != "httpsProxy" {
				t.Errorf("%+v", e)
			}
			return
		}
	}
	t.Error("no proxy")
}

func policy(t *testing.T, o *objects, name string) *networkingv1.NetworkPolicy {
	t.Helper()
	for _, p := range o.policies {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no policy %s", name)
	return nil
}

// describe tells rules in one line each.
func describe(to []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) string {
	var peers, numbers []string
	for _, p := range to {
		switch {
		case p.IPBlock != nil:
			peers = append(peers, p.IPBlock.CIDR)
		case p.NamespaceSelector != nil:
			peers = append(peers, "namespace "+p.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
		default:
			peers = append(peers, "pods of "+p.PodSelector.MatchLabels["app.kubernetes.io/instance"])
		}
	}
	for _, p := range ports {
		numbers = append(numbers, fmt.Sprintf("%s %d", *p.Protocol, p.Port.IntVal))
	}
	return strings.Join(peers, ", ") + " : " + strings.Join(numbers, ", ")
}

// TestNetworkPolicies holds everything that policies let through, and nothing
// else.
func TestNetworkPolicies(t *testing.T) {
	if o := render(t, ""); len(o.policies) != 0 {
		t.Error("policies by default")
	}
	o := render(t, `
networkPolicy: {enabled: true, k8sApi: {port: 6443}, metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], extraEgress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}], ports: [{port: 9000, protocol: TCP}]}]}
relay: {collector: {address: "collector.example.com:443"}}
prometheusAgent: {enabled: true, remoteWrite: {url: "https://metrics.example.com/write"}}
`)
	deny := policy(t, o, "capstan-default-deny").Spec
	if len(deny.PolicyTypes) != 2 || len(deny.Ingress)+len(deny.Egress) != 0 {
		t.Errorf("default: %+v", deny)
	}
	got := make(map[string]bool)
	for _, p := range o.policies {
		if p.Spec.PodSelector.MatchLabels["app.kubernetes.io/instance"] != "capstan" {
			t.Errorf("%s selects pods of others", p.Name)
		}
		for _, r := range p.Spec.Ingress {
			got[p.Name+" from "+describe(r.From, r.Ports)] = true
		}
		for _, r := range p.Spec.Egress {
			got[p.Name+" to "+describe(r.To, r.Ports)] = true
		}
	}
	want := []string{
		"capstan-release from pods of capstan : ",
		"capstan-release to pods of capstan : ",
		"capstan-release to namespace kube-system, 169.254.20.10/32 : UDP 53, TCP 53",
		"capstan-relay from  : TCP 4417",
		"capstan-relay from namespace monitoring : TCP 4418",
		"capstan-outside to  : TCP 443",
		"capstan-outside to 198.51.100.0/24 : TCP 9000",
		"capstan-prometheus-agent to  : TCP 6443, TCP 9417, TCP 9418",
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("no %q in %v", w, got)
		}
		delete(got, w)
	}
	for g := range got {
		t.Errorf("%q, which nobody needs", g)
	}
}

// TestPoliciesSelect holds who may talk to the outside.
func TestPoliciesSelect(t *testing.T) {
	for values, want := range map[string]string{
		"{networkPolicy: {enabled: true}, relay: {collector: {address: 'a:443'}}}":                                  "[relay]",
		"{networkPolicy: {enabled: true}, relay: {enabled: false}, interceptor: {collector: {address: 'a:443'}}}":   "[interceptor]",
		"{networkPolicy: {enabled: true}, interceptor: {config: {sinks: [{kafka: {brokers: ['a:1'], topic: a}}]}}}": "[interceptor]",
	} {
		got := policy(t, render(t, values), "capstan-outside").Spec.PodSelector.MatchExpressions
		if len(got) != 1 || fmt.Sprint(got[0].Values) != want {
			t.Errorf("%s: %+v", values, got)
		}
	}
	for _, p := range render(t, "{networkPolicy: {enabled: true}}").policies {
		if p.Name == "capstan-outside" {
			t.Error("nobody talks to the outside, but a policy lets somebody")
		}
	}
}

// TestNotesSayWhatPoliciesDoNot holds that an operator is told.
func TestNotesSayWhatPoliciesDoNot(t *testing.T) {
	if notes := render(t, "{networkPolicy: {enabled: true}}").notes; !strings.Contains(notes, "do not apply network policies to pods in the host's network") {
		t.Error(notes)
	}
	if notes := render(t, "").notes; !strings.Contains(notes, "logs -f daemonset/capstan-interceptor") || !strings.Contains(notes, "enforce: privileged") {
		t.Error(notes)
	}
	if notes := render(t, "{securityMode: leastPrivilege}").notes; !strings.Contains(notes, "enforce: privileged, for\nrpcapd's capabilities and the node's network.") {
		t.Error(notes)
	}
	if notes := render(t, "{hostNetwork: false}").notes; !strings.Contains(notes, "only the traffic of the sensor's own pods") {
		t.Error(notes)
	}
	if pod := render(t, "{hostNetwork: false}").sensor(t); pod.DNSPolicy != corev1.DNSClusterFirst || pod.HostNetwork {
		t.Errorf("%s", pod.DNSPolicy)
	}
}
