package siblings

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// alone are the values of a sensor that delivers nowhere.
const alone = "relay: {enabled: false}\n"

// serverSecret has a certificate and its key.
const serverSecret = "capstan-relay-tls"

// promised is how long after its start the sensor may take to tell an exchange.
const promised = 60 * time.Second

// traffic is an HTTP server on loopback, and a client of it.
type traffic struct {
	t      *testing.T
	server *httptest.Server
}

func newTraffic(t *testing.T) *traffic {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }))
	t.Cleanup(s.Close)
	return &traffic{t, s}
}

// get asks for a path, on a connection of its own.
func (tr *traffic) get(path string) {
	tr.t.Helper()
	request, err := http.NewRequestWithContext(tr.t.Context(), http.MethodGet, tr.server.URL+path, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		tr.t.Fatal(err)
	}
	answer.Body.Close()
}

// told waits until an exchange with path is in the interceptor's log.
func (p *podman) told(t *testing.T, tr *traffic, pod, path string) {
	t.Helper()
	eventually(t, promised, "an exchange of "+path, func() bool {
		tr.get(path)
		return strings.Contains(p.logs(pod, "interceptor"), path)
	})
}

// clean holds that a container has told no error.
func clean(t *testing.T, name, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") || strings.Contains(line, "goroutine ") {
			t.Errorf("%s says: %s", name, line)
		}
	}
}

// checkDoctor holds that rpcapd has every capability that its own examination
// asks for. Whether bpf is allowed, too, is up to the runtime's profile.
func (p *podman) checkDoctor(t *testing.T) {
	t.Helper()
	found := p.must("podman", "exec", "sensor-rpcapd", "/rpcapd", "doctor")
	if !strings.Contains(found, "This process can capture") || strings.Contains(found, "capabilities: {add:") {
		t.Errorf("rpcapd doctor says:\n%s", found)
	}
}

// TestSensor runs rpcapd and interceptor as the siblings that the chart makes
// of them, with each access to the host and without.
func TestSensor(t *testing.T) {
	p := requirePodman(t)
	p.buildImages()
	off := false
	for _, tc := range []struct {
		name, values string
		change       func(*pod)
		missing      []string // that both processes tell
		captures     bool
	}{
		{"privileged", "", nil, nil, true},
		{"least privilege", "securityMode: leastPrivilege\n", nil, []string{"hostPID", "privileged"}, true},
		{"without hostPID", "hostPID: false\n", nil, []string{"hostPID"}, true},
		{"without hostNetwork", "hostNetwork: false\n", nil, []string{"hostNetwork"}, false},
		{"without privileged", "", func(s *pod) {
			for i := range s.Containers {
				s.Containers[i].SecurityContext = &corev1.SecurityContext{Privileged: &off}
			}
		}, []string{"privileged"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := render(t, alone+tc.values).pod(t, "interceptor")
			if tc.change != nil {
				tc.change(spec)
			}
			tr := newTraffic(t)
			p.play(t, "sensor", spec)
			for _, c := range spec.Containers {
				eventually(t, promised, c.Name+"'s probe succeeds", func() bool { return p.probe("sensor", c) == nil })
			}
			if tc.captures {
				p.told(t, tr, "sensor", fmt.Sprintf("/first/%d", os.Getpid()))
			}
			if tc.captures && tc.change == nil {
				p.checkDoctor(t)
			}
			for _, c := range spec.Containers {
				if spec.HostNetwork {
					p.checkListeners(t, "sensor-"+c.Name)
				}
				log := p.logs("sensor", c.Name)
				clean(t, c.Name, log)
				for _, access := range []string{"hostNetwork", "hostPID", "privileged"} {
					want := false
					for _, m := range tc.missing {
						want = want || m == access
					}
					if strings.Contains(log, access+" is missing") != want {
						t.Errorf("%s tells that %s is missing: %v\n%s", c.Name, access, !want, log)
					}
				}
			}
		})
	}
	t.Run("rpcapd is killed", func(t *testing.T) {
		spec := render(t, alone).pod(t, "interceptor")
		tr := newTraffic(t)
		p.play(t, "sensor", spec)
		p.told(t, tr, "sensor", "/before")
		p.kill(t, "sensor-rpcapd")
		p.told(t, tr, "sensor", "/after")
		for _, c := range spec.Containers {
			clean(t, c.Name, p.logs("sensor", c.Name))
			if err := p.probe("sensor", c); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("ports that values open", func(t *testing.T) {
		ports := freePorts(t, 3)
		r := render(t, alone+fmt.Sprintf(`
securityMode: leastPrivilege
monitoring: {enabled: true, rpcapdPort: %d, interceptorPort: %d}
rpcapd: {wireshark: {enabled: true, port: %d, tlsSecret: %s, credentialsSecret: users}}
`, ports[0], ports[1], ports[2], serverSecret))
		r.files[serverSecret] = render(t, "").files[serverSecret]
		hash := exec.Command(p.program(runtime.GOARCH, "rpcapd"), "hash-password", "ann")
		hash.Stdin = strings.NewReader("a password\n")
		user, err := hash.Output()
		if err != nil {
			t.Fatal(err)
		}
		r.files["users"] = map[string][]byte{"credentials": user}
		spec := r.pod(t, "interceptor")
		spec.beside()
		p.play(t, "sensor", spec)
		for _, c := range spec.Containers {
			eventually(t, promised, c.Name+"'s probe succeeds", func() bool { return p.probe("sensor", c) == nil })
		}
		p.checkListeners(t, "sensor-rpcapd", fmt.Sprintf("*:%d", ports[0]), fmt.Sprintf("*:%d", ports[2]))
		p.checkListeners(t, "sensor-interceptor", fmt.Sprintf("*:%d", ports[1]))
	})
	t.Run("sinks of the values", func(t *testing.T) {
		r := render(t, alone+`
securityMode: leastPrivilege
interceptor:
  output: none
  config:
    rules: [{deny: {path: /secret/*}}]
    sinks: [{file: {path: /var/lib/capstan/records.ndjson}}]
`)
		spec := r.pod(t, "interceptor")
		tr := newTraffic(t)
		p.play(t, "sensor", spec)
		var records []byte
		eventually(t, promised, "an exchange in the file", func() bool {
			tr.get("/secret/path")
			tr.get("/open/path")
			records, _ = os.ReadFile(filepath.Join(spec.volumes["spool"], "records.ndjson")) // missing at first
			return strings.Contains(string(records), "/open/path")
		})
		if strings.Contains(string(records), "/secret/path") {
			t.Error("a rule of the values isn't kept")
		}
		if log := p.logs("sensor", "interceptor"); strings.Contains(log, "/open/path") {
			t.Errorf("output is none:\n%s", log)
		}
		p.tryNotes(t, r.notes, map[string]string{"daemonset/capstan-interceptor": "sensor"}, "exec", "exec")
	})
}
