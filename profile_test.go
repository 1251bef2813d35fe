package capstan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// TestProfile holds that the profile that the interceptor is built with is one of
// this code, as it is built, and tells nothing of the machine that it was taken on.
func TestProfile(t *testing.T) {
	f, err := os.Open("interceptor/default.pgo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]bool{}
	for _, f := range p.Function {
		if filepath.IsAbs(f.Filename) {
			t.Errorf("%s is in %s", f.Name, f.Filename)
		}
		if _, err := os.Stat(strings.TrimPrefix(f.Filename, "capstan/")); err == nil {
			rooms[filepath.Dir(f.Filename)] = true
		}
	}
	for _, m := range p.Mapping {
		if filepath.IsAbs(m.File) && !strings.Contains(m.File, "/go-build") {
			t.Errorf("it was taken of %s", m.File)
		}
	}
	for _, room := range []string{"capstan/pkg/packet", "capstan/pkg/reassembly", "capstan/interceptor/internal/l7/http1", "capstan/interceptor/internal/l7/http2",
		"capstan/interceptor/internal/exchange", "capstan/interceptor/internal/sink/ndjson"} {
		if !rooms[room] {
			t.Errorf("no function of %s is in it", room)
		}
	}
}
