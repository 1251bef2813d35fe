package traffic

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// frameOf returns an Ethernet frame of n bytes that tells its length.
func frameOf(n int) capture.Frame {
	data := bytes.Repeat([]byte{byte(n)}, n)
	return capture.Frame{Data: data, Len: n, LinkType: capture.LinkTypeEthernet}
}

// writeCapture writes a capture file and returns its name.
func writeCapture(t testing.TB, frames ...capture.Frame) string {
	t.Helper()
	var out bytes.Buffer
	w, err := capfile.NewWriter(&out, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		id, err := w.AddInterface(capfile.Interface{LinkType: f.LinkType})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteFrame(id, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "frames.pcapng")
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReplaySendsTheFilesFramesOverAndOver(t *testing.T) {
	frames := []capture.Frame{frameOf(60), frameOf(1514), frameOf(99)}
	g := newGenerator(t, Plan{Kind: File, File: writeCapture(t, frames...)})
	var f Frame
	for i := range 8 {
		if !g.Next(&f) {
			t.Fatal("ended")
		}
		f.Stamp(1)
		if !bytes.Equal(f.Data, frames[i%3].Data) {
			t.Fatalf("frame %d has %d bytes or others than those of the file", i, len(f.Data))
		}
	}
}

func TestReplayRefusesWhatCannotBeSent(t *testing.T) {
	cut := frameOf(60)
	cut.Len = 1514
	raw := frameOf(60)
	raw.LinkType = capture.LinkTypeRaw
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"cut":       {writeCapture(t, frameOf(60), cut), "frame 2: cut to 60 of 1514 bytes"},
		"raw":       {writeCapture(t, raw), "frame 1: link type RAW"},
		"tiny":      {writeCapture(t, frameOf(13)), "13 bytes are no Ethernet frame"},
		"empty":     {writeCapture(t), "holds no frames"},
		"not there": {filepath.Join(t.TempDir(), "none"), "none"},
		"no file":   {"", "needs the name"},
	} {
		_, err := New(Plan{Kind: File, File: c.file})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestSizesFromAFile(t *testing.T) {
	name := writeCapture(t, frameOf(40), frameOf(700), frameOf(9000))
	g := newGenerator(t, Plan{Size: FromFile(name)})
	var f Frame
	for i := range 6 {
		g.Next(&f)
		if want := []int{60, 700, 1514}[i%3]; len(f.Data) != want {
			t.Errorf("frame %d has %d bytes, want %d", i, len(f.Data), want)
		}
	}
	if _, err := New(Plan{Size: FromFile(writeCapture(t))}); err == nil {
		t.Error("took lengths from an empty file")
	}
}
