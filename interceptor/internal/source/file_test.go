package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// told is a Sink that passes on what it is told: "frame", "drained", "idle".
type told chan string

func (c told) Frame(*capture.Frame) { c <- "frame" }
func (c told) Drained()             { c <- "drained" }
func (c told) Lost()                { c <- "lost" }
func (c told) Idle(d time.Duration) {
	if d == 0 {
		c <- "idle"
	}
}

// captureFile returns a capture file, and where its first frame ends.
func captureFile(t *testing.T, frames int) (file []byte, first int) {
	t.Helper()
	var b bytes.Buffer
	w, err := capfile.NewWriter(&b, "test")
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddInterface(capfile.Interface{LinkType: capture.LinkTypeEthernet})
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		if err := w.WriteFrame(id, &capture.Frame{Timestamp: int64(i), Data: make([]byte, 60), Len: 60}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b.Len()
		}
	}
	return b.Bytes(), first
}

// A named pipe that nobody writes to can be given up.
func TestPipeWithoutWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sink := stopping{counter: counter{enough: func(*counter) {}}, idle: cancel}
	if err := ReadFile(ctx, name, nil, &sink); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// A named pipe is read from its writer's first byte to its last, however late that comes.
func TestPipeWithLateWriter(t *testing.T) {
	const frames = 3000
	file, _ := captureFile(t, frames)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	begin := sync.OnceFunc(func() { go func() { written <- os.WriteFile(name, file, 0) }() })
	sink := stopping{counter: counter{enough: func(*counter) {}}, idle: begin}
	if err := ReadFile(context.Background(), name, nil, &sink); err != nil || sink.frames != frames {
		t.Errorf("%d frames, %v", sink.frames, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A pipe that has no further frame, or no whole one, is told to be drained, then to be
// silent, before it is waited for.
func TestPipeTellsItsPauses(t *testing.T) {
	file, first := captureFile(t, 3)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sink, ended := make(told), make(chan error, 1)
	expect := func(want ...string) {
		t.Helper()
		for _, what := range want {
			select {
			case got := <-sink:
				if got != what {
					t.Fatalf("%s where %s is wanted", got, what)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("no %s", what)
			}
		}
	}
	write := func(b []byte) {
		t.Helper()
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(file[:first])
	go func() { ended <- ReadFile(context.Background(), "-", r, sink) }()
	expect("frame", "drained", "idle")
	write(file[first : len(file)-10])
	expect("frame", "drained", "idle")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-sink:
		t.Fatalf("%s at the end", got)
	case err := <-ended:
		if cut, ok := err.(*CutShortError); !ok || cut.Frames != 2 {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it doesn't end")
	}
}

// A pipe in which nothing comes doesn't keep its reader from ending.
func TestPipeEndsWithContext(t *testing.T) {
	file, first := captureFile(t, 1)
	for _, have := range []int{0, first, first - 10} {
		for _, kind := range []string{"", "gzip", "zstd"} {
			b := file[:have]
			if kind != "" {
				b = compressed(t, kind, file)
				b = b[:len(b)*have/(2*first)]
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			stop := errors.New("stop")
			ctx, cancel := context.WithCancelCause(context.Background())
			sink := stopping{counter: counter{enough: func(*counter) {}}, idle: func() { cancel(stop) }}
			if err := ReadFile(ctx, "-", r, &sink); err != stop {
				t.Errorf("%d bytes, %s: it ends with %v", have, kind, err)
			}
			r.Close()
			w.Close()
		}
	}
}

// stopping is a counter that is told of the first silence.
type stopping struct {
	counter
	idle func()
}

func (s *stopping) Idle(time.Duration) { s.idle() }

// A regular file has no pauses, wherever buffers end.
func TestPausesOfFiles(t *testing.T) {
	const frames = 20_000
	file, _ := captureFile(t, frames)
	name := filepath.Join(t.TempDir(), "file.pcapng")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c := counter{enough: func(*counter) {}}
	if err := ReadFile(context.Background(), name, nil, &c); err != nil || c.frames != frames || c.drained != 0 {
		t.Errorf("%v, %d frames, drained %d times", err, c.frames, c.drained)
	}
}

// compressed returns what kind makes of b.
func compressed(t *testing.T, kind string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if kind == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCompressedFiles(t *testing.T) {
	const frames = 3000
	file, _ := captureFile(t, frames)
	read := func(b []byte) (uint64, error) {
		c := counter{enough: func(*counter) {}}
		err := ReadFile(context.Background(), "-", bytes.NewReader(b), &c)
		return uint64(c.frames), err
	}
	for _, kind := range []string{"gzip", "zstd"} {
		whole := compressed(t, kind, file)
		if n, err := read(whole); n != frames || err != nil {
			t.Errorf("%s: %d frames, %v", kind, n, err)
		}
		for _, length := range []int{5, len(whole) / 2, len(whole) - 1} {
			n, err := read(whole[:length])
			if cut := (*CutShortError)(nil); !errors.As(err, &cut) || cut.Frames != n {
				t.Errorf("%s, %d bytes of %d: %d frames, %v", kind, length, len(whole), n, err)
			}
		}
		damaged := bytes.Clone(whole)
		damaged[len(damaged)/2] ^= 0xff
		if _, err := read(damaged); err == nil {
			t.Errorf("%s: damage is not told", kind)
		}
		if _, err := read(compressed(t, kind, []byte("no capture file"))); !errors.Is(err, capfile.ErrNotCapture) {
			t.Errorf("%s of something else: %v", kind, err)
		}
	}
	for _, b := range [][]byte{nil, {0x1f}, {0x28, 0xb5, 0x2f}} {
		if n, err := read(b); n != 0 || err == nil {
			t.Errorf("% x: %d frames, %v", b, n, err)
		}
	}
}

// rawZstd returns a zstd frame that holds b as it is and states a window of 1 KiB
// times two to the given power (RFC 8878 §3.1.1).
func rawZstd(b []byte, power byte) []byte {
	const magic, maxBlock = 0xfd2fb528, 128 << 10
	frame := append(binary.LittleEndian.AppendUint32(nil, magic), 0, power<<3)
	for last := uint32(0); last == 0; {
		n := min(len(b), maxBlock)
		if n == len(b) {
			last = 1
		}
		head := binary.LittleEndian.AppendUint32(nil, uint32(n)<<3|last)
		frame = slices.Concat(frame, head[:3], b[:n])
		b = b[n:]
	}
	return frame
}

// TestCompressedInParts has files of several members or frames, some of them to be
// skipped, and of the largest window.
func TestCompressedInParts(t *testing.T) {
	const frames = 3000
	file, first := captureFile(t, frames)
	parts := func(kind string) []byte {
		return append(compressed(t, kind, file[:first+10]), compressed(t, kind, file[first+10:])...)
	}
	skipped := []byte{0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	for name, b := range map[string][]byte{
		"gzip": parts("gzip"), "zstd": parts("zstd"), "zstd, the first to be skipped": append(skipped, parts("zstd")...), "window of 128 MiB": rawZstd(file, 17),
	} {
		c := counter{enough: func(*counter) {}}
		if err := ReadFile(context.Background(), "-", bytes.NewReader(b), &c); err != nil || c.frames != frames {
			t.Errorf("%s: %d frames, %v", name, c.frames, err)
		}
	}
	c := counter{enough: func(*counter) {}}
	if err := ReadFile(context.Background(), "-", bytes.NewReader(rawZstd(file, 18)), &c); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("window of 256 MiB: %v", err)
	}
}
