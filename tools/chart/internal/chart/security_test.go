package chart

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// all are values with every component and every option that opens something.
const all = `
prometheusAgent: {enabled: true, remoteWrite: {url: "https://metrics.example.com/write"}}
monitoring: {enabled: true, podMonitor: {enabled: true}, rules: {enabled: true}}
relay: {collector: {address: "collector.example.com:443"}}
httpsProxy: 192.0.2.7:3128
networkPolicy: {enabled: true}
rpcapd: {wireshark: {enabled: true, tlsSecret: a, credentialsSecret: b}}
`

// TestSensorIsPrivileged holds what the sensor gets by default.
func TestSensorIsPrivileged(t *testing.T) {
	pod := render(t, "").sensor(t)
	if !pod.HostNetwork || !pod.HostPID || pod.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
		t.Errorf("hostNetwork %v, hostPID %v, dnsPolicy %s", pod.HostNetwork, pod.HostPID, pod.DNSPolicy)
	}
	if pod.HostIPC {
		t.Error("hostIPC, which nobody needs")
	}
	if len(pod.Containers) != 2 || len(pod.InitContainers) != 0 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	for _, name := range []string{"rpcapd", "interceptor"} {
		c := container(t, pod, name)
		if c.SecurityContext.Privileged == nil || !*c.SecurityContext.Privileged {
			t.Errorf("%s is not privileged", name)
		}
		if !slices.Contains(c.Args, "--tell-host-access") {
			t.Errorf("%s doesn't tell what is missing", name)
		}
	}
}

// TestLeastPrivilege holds what the sensor has left with leastPrivilege.
func TestLeastPrivilege(t *testing.T) {
	pod := render(t, "{securityMode: leastPrivilege}").sensor(t)
	if pod.HostPID || !pod.HostNetwork {
		t.Errorf("hostPID %v, hostNetwork %v", pod.HostPID, pod.HostNetwork)
	}
	rpcapd := container(t, pod, "rpcapd").SecurityContext
	want := []corev1.Capability{"NET_RAW", "BPF", "PERFMON"}
	if rpcapd.Privileged != nil || !slices.Equal(rpcapd.Capabilities.Add, want) || !slices.Equal(rpcapd.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("rpcapd: %+v", rpcapd)
	}
	confined(t, "rpcapd", rpcapd)
	if *rpcapd.RunAsGroup != 1000 {
		t.Errorf("rpcapd's socket has group %d, not the interceptor's", *rpcapd.RunAsGroup)
	}
	restricted(t, "interceptor", container(t, pod, "interceptor"), 1000)
	own := container(t, render(t, "{securityMode: leastPrivilege, rpcapd: {seccompProfile: {type: Localhost, localhostProfile: a.json}}}").sensor(t), "rpcapd")
	if p := own.SecurityContext.SeccompProfile; p.Type != corev1.SeccompProfileTypeLocalhost || *p.LocalhostProfile != "a.json" {
		t.Errorf("rpcapd's profile: %+v", p)
	}
}

// confined holds what every container that is not privileged has.
func confined(t *testing.T, name string, s *corev1.SecurityContext) {
	t.Helper()
	switch {
	case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
		t.Errorf("%s may escalate", name)
	case s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem:
		t.Errorf("%s may write to its root", name)
	case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Errorf("%s has no seccomp profile", name)
	}
}

// restricted holds what a container has that needs nothing of its host.
func restricted(t *testing.T, name string, c *corev1.Container, id int64) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || s.RunAsUser == nil || s.RunAsGroup == nil || s.RunAsNonRoot == nil || s.Capabilities == nil {
		t.Fatalf("%s: %+v", name, s)
	}
	if *s.RunAsUser != id || *s.RunAsGroup != id || !*s.RunAsNonRoot {
		t.Errorf("%s runs as %d:%d, non-root %v", name, *s.RunAsUser, *s.RunAsGroup, *s.RunAsNonRoot)
	}
	if s.Privileged != nil || len(s.Capabilities.Add) > 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("%s has privileges: %+v", name, s)
	}
	confined(t, name, s)
}

// TestEveryOtherContainerIsRestricted holds that only the sensor's two are
// privileged, whatever is turned on.
func TestEveryOtherContainerIsRestricted(t *testing.T) {
	for name, pod := range render(t, all).pods(t) {
		if name == "interceptor" {
			continue
		}
		if pod.HostNetwork || pod.HostPID || pod.HostIPC {
			t.Errorf("%s has a namespace of the host", name)
		}
		if len(pod.Containers) == 0 {
			t.Errorf("%s has no containers", name)
		}
		id := int64(1000)
		if name == "prometheus-agent" {
			id = 65534
		}
		for i := range pod.Containers {
			restricted(t, name, &pod.Containers[i], id)
		}
	}
}

// TestNoHostPaths holds that no pod sees a file of its node.
func TestNoHostPaths(t *testing.T) {
	for name, pod := range render(t, all).pods(t) {
		for _, v := range pod.Volumes {
			if v.HostPath != nil {
				t.Errorf("%s mounts %s", name, v.HostPath.Path)
			}
		}
	}
}

// listeners returns which arguments of the sensor's containers make it listen
// on TCP.
func listeners(pod *corev1.PodSpec) []string {
	var found []string
	for _, c := range pod.Containers {
		for _, arg := range c.Args {
			address, metrics := strings.CutPrefix(arg, "--metrics-address=")
			if arg == "-p" || arg == "-b" || metrics && !strings.HasPrefix(address, "unix:") {
				found = append(found, c.Name+" "+arg)
			}
		}
		for _, p := range c.Ports {
			found = append(found, c.Name+" "+p.Name)
		}
	}
	return found
}

// TestNothingListensOnNodes holds that the sensor listens on TCP only where
// that was asked for, in either mode.
func TestNothingListensOnNodes(t *testing.T) {
	for _, values := range []string{"", "{securityMode: leastPrivilege}", "{relay: {enabled: false}}", "{networkPolicy: {enabled: true}}"} {
		if l := listeners(render(t, values).sensor(t)); len(l) > 0 {
			t.Errorf("%s: %v", values, l)
		}
	}
	for values, want := range map[string][]string{
		"{monitoring: {enabled: true}}":                                              {"rpcapd --metrics-address=:9417", "rpcapd rpcapd-metrics", "interceptor --metrics-address=:9418", "interceptor metrics"},
		"{rpcapd: {wireshark: {enabled: true, tlsSecret: a, credentialsSecret: b}}}": {"rpcapd -p", "rpcapd rpcaps"},
	} {
		if l := listeners(render(t, values).sensor(t)); !slices.Equal(l, want) {
			t.Errorf("%s: %v", values, l)
		}
	}
}

// TestWiresharkNeedsTLSAndPassword holds that rpcapd, opened to others, speaks
// TLS and wants a password.
func TestWiresharkNeedsTLSAndPassword(t *testing.T) {
	args := container(t, render(t, all).sensor(t), "rpcapd").Args
	for _, want := range []string{"-S", "-X", "-K", "--credentials=/etc/capstan/credentials/credentials"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %v", want, args)
		}
	}
	if slices.Contains(args, "-n") {
		t.Error("lets in everybody")
	}
}

// TestRelayWantsCertificates holds that nodes and relay know each other by
// certificate, and that it isn't turned off by any value.
func TestRelayWantsCertificates(t *testing.T) {
	o := render(t, all)
	relay := container(t, o.deployment("relay"), "relay").Args
	for _, want := range []string{"--tls-cert=/etc/capstan/tls/tls.crt", "--tls-key=/etc/capstan/tls/tls.key", "--tls-client-ca=/etc/capstan/tls/ca.crt"} {
		if !slices.Contains(relay, want) {
			t.Errorf("relay has no %s", want)
		}
	}
	sensor := container(t, o.sensor(t), "interceptor").Args
	for _, want := range []string{"--collector-ca=/etc/capstan/collector/ca.crt", "--collector-cert=/etc/capstan/collector/tls.crt", "--collector-key=/etc/capstan/collector/tls.key"} {
		if !slices.Contains(sensor, want) {
			t.Errorf("interceptor has no %s", want)
		}
	}
}

// TestServiceAccounts holds that each component has an account of its own, and
// that only prometheusAgent has a token, for what its role lists.
func TestServiceAccounts(t *testing.T) {
	o := render(t, all)
	seen := make(map[string]bool)
	for name, pod := range o.pods(t) {
		if pod.ServiceAccountName == "" || seen[pod.ServiceAccountName] {
			t.Errorf("%s has the account %q", name, pod.ServiceAccountName)
		}
		seen[pod.ServiceAccountName] = true
		if *pod.AutomountServiceAccountToken != (name == "prometheus-agent") {
			t.Errorf("%s: token mounted: %v", name, *pod.AutomountServiceAccountToken)
		}
	}
	for _, a := range o.accounts {
		if !seen[a.Name] || a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			t.Errorf("account %s", a.Name)
		}
	}
	if len(o.roles) != 1 || len(o.bindings) != 1 || o.bindings[0].Subjects[0].Name != "capstan-prometheus-agent" {
		t.Fatalf("%d roles, %+v", len(o.roles), o.bindings)
	}
	for _, rule := range o.roles[0].Rules {
		if !slices.Equal(rule.Verbs, []string{"get", "list", "watch"}) || slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") {
			t.Errorf("%+v", rule)
		}
	}
	if o := render(t, ""); len(o.roles)+len(o.bindings) != 0 {
		t.Error("roles without prometheusAgent")
	}
}

// TestProbes holds that every container has probes, and that ours are programs,
// not connections.
func TestProbes(t *testing.T) {
	for name, pod := range render(t, all).pods(t) {
		for _, c := range pod.Containers {
			if c.LivenessProbe == nil || c.StartupProbe == nil {
				t.Errorf("%s: %s has no probe", name, c.Name)
			}
			for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				if name != "prometheus-agent" && probe != nil && probe.Exec == nil {
					t.Errorf("%s: %s is probed over the network", name, c.Name)
				}
			}
			if len(c.Resources.Requests) == 0 || len(c.Resources.Limits) == 0 {
				t.Errorf("%s: %s has no resources", name, c.Name)
			}
		}
	}
}

// TestSensorRunsOnEveryNode holds that no taint keeps it off, and that of nodes
// of another system, which have no such images, it keeps off.
func TestSensorRunsOnEveryNode(t *testing.T) {
	pod := render(t, "").sensor(t)
	if len(pod.Tolerations) != 1 || pod.Tolerations[0] != (corev1.Toleration{Operator: corev1.TolerationOpExists}) ||
		len(pod.NodeSelector) != 1 || pod.NodeSelector[corev1.LabelOSStable] != "linux" {
		t.Errorf("%+v, %+v", pod.Tolerations, pod.NodeSelector)
	}
}

// TestSiblingsShareTheSocketOnly holds that interceptor can connect to rpcapd's
// socket and can't put anything in its place.
func TestSiblingsShareTheSocketOnly(t *testing.T) {
	for _, values := range []string{"", "{securityMode: leastPrivilege}", "{interceptor: {config: {flows: true}, configSecrets: [kafka]}}"} {
		pod := render(t, values).sensor(t)
		mounts := make(map[string][]bool) // by volume: read-only or not
		for _, c := range pod.Containers {
			for _, m := range c.VolumeMounts {
				mounts[m.Name] = append(mounts[m.Name], m.ReadOnly)
			}
		}
		if !slices.Equal(mounts["run"], []bool{false, true}) {
			t.Errorf("%s: mounts of the socket's volume, rpcapd and interceptor: %v", values, mounts["run"])
		}
		for name, m := range mounts {
			if name != "run" && len(m) != 1 {
				t.Errorf("%s: %s is shared", values, name)
			}
		}
	}
}
