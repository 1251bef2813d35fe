package siblings

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestImages holds what "make image" builds for another architecture by each
// engine that needs no daemon: static programs alone, labelled, relay's not for
// root.
func TestImages(t *testing.T) {
	p := requirePodman(t)
	for _, engine := range []string{"podman", "buildah"} {
		t.Run(engine, func(t *testing.T) {
			requireProgram(t, engine)
			p.image(engine, "arm64", engine)
			for name, user := range map[string]string{"rpcapd": "0:1000", "interceptor": "", "relay": "1000:1000"} {
				format := `{{.Architecture}}|{{.Os}}|{{.Config.User}}|{{len .RootFS.Layers}}|{{index .Labels "org.opencontainers.image.title"}}|{{index .Labels "org.opencontainers.image.version"}}|{{index .Labels "org.opencontainers.image.licenses"}}`
				got := strings.TrimSpace(p.must("podman", "image", "inspect", "--format", format, "localhost/capstan-"+name+":"+engine))
				if want := "arm64|linux|" + user + "|1|capstan-" + name + "|" + engine + "|Apache-2.0"; got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
		})
	}
}

// TestOtherArchitecture holds that programs of images for arm64, under
// emulation, say the same as those of this machine, byte for byte, of what
// needs no kernel of their own.
func TestOtherArchitecture(t *testing.T) {
	p := requirePodman(t)
	qemu := requireProgram(t, "qemu-aarch64-static")
	p.buildImages()
	p.image("podman", "arm64", "podman")
	p.write("good.yaml", "rules: [{deny: {path: /healthz}}]\nsinks: [{file: {path: records.ndjson}}]\n")
	p.write("bad.yaml", "body_limt: 1\nsinks: [{kafka: {topic: a}}]\n")
	for _, tc := range []struct {
		says    string // among other things
		command []string
	}{
		{`"status":404`, []string{"interceptor", "read", "--output=json", "testdata/http.pcap"}},
		{`"target":"/item/2?h2=true"`, []string{"interceptor", "read", "--output=json", "testdata/http1-http2-gzip.pcap"}},
		{"/item/0?h2=false", []string{"interceptor", "read", "--output=text", "testdata/http1-http2-gzip.pcap"}},
		{"", []string{"interceptor", "config", "check", filepath.Join(p.dir, "good.yaml")}},
		{"did you mean body_limit?", []string{"interceptor", "config", "check", filepath.Join(p.dir, "bad.yaml")}},
		{"rpcapd", []string{"rpcapd", "--version"}},
		{"--unix-socket", []string{"rpcapd", "--help"}},
		{"relay version", []string{"relay", "--version"}},
	} {
		program, args := tc.command[0], tc.command[1:]
		want, wantErr := p.run(false, p.program(runtime.GOARCH, program), args...)
		got, gotErr := p.run(false, qemu, append([]string{p.program("arm64", program)}, args...)...)
		if got != want || (gotErr == nil) != (wantErr == nil) || !strings.Contains(got, tc.says) {
			t.Errorf("%v: arm64 says, with %v:\n%s\n%s, with %v:\n%s", tc.command, gotErr, got, runtime.GOARCH, wantErr, want)
		}
	}
}
