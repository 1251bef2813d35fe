package siblings

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestImages holds what "make image" builds for another architecture: static
// programs alone, labelled, relay's not for root. Under emulation they do what
// needs no kernel of their own.
func TestImages(t *testing.T) {
	p := requirePodman(t)
	bin := filepath.Join(p.dir, "bin")
	p.must("make", "-s", "-C", repository, "image", "IMAGE_ENGINE=podman", "IMAGE_PREFIX=localhost/", "IMAGE_ARCH=arm64", "IMAGE_TAG=test", "BIN="+bin)
	for name, user := range map[string]string{"rpcapd": "0:1000", "interceptor": "", "relay": "1000:1000"} {
		format := `{{.Architecture}}|{{.Os}}|{{.Config.User}}|{{len .RootFS.Layers}}|{{index .Labels "org.opencontainers.image.title"}}|{{index .Labels "org.opencontainers.image.version"}}|{{index .Labels "org.opencontainers.image.licenses"}}`
		got := strings.TrimSpace(p.must("podman", "image", "inspect", "--format", format, "localhost/capstan-"+name+":test"))
		if want := "arm64|linux|" + user + "|1|capstan-" + name + "|test|Apache-2.0"; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	qemu := requireProgram(t, "qemu-aarch64-static")
	programs := filepath.Join(bin, "image", "arm64")
	records := p.must(qemu, filepath.Join(programs, "interceptor"), "read", "--output=json", "testdata/http.pcap")
	if strings.Count(records, `"id":`) != 1 || !strings.Contains(records, "/nowhere") || !strings.Contains(records, `"status":404`) {
		t.Errorf("interceptor read: %s", records)
	}
	for _, command := range [][]string{{"rpcapd", "--version"}, {"relay", "--version"}} {
		if out := p.must(qemu, filepath.Join(programs, command[0]), command[1]); !strings.Contains(out, command[0]) {
			t.Errorf("%v: %s", command, out)
		}
	}
}
