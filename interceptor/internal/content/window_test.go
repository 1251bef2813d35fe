package content

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// wide encodes with the largest window; "single" is zstd that is its own window.
func wide(t testing.TB, name string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	if name == "br" {
		w = brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 9, LGWin: 24})
	} else {
		e, err := zstd.NewWriter(&b, zstd.WithWindowSize(maxWindow), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(name == "single"))
		if err != nil {
			t.Fatal(err)
		}
		if name == "single" {
			return e.EncodeAll(plain, nil)
		}
		w = e
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wideHeader(name string) []string {
	if name == "single" {
		name = "zstd"
	}
	return []string{name}
}

// text is words that br has in its dictionary, among others.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %d ", []string{"Content-Type: text/html", "the government of the", "<div class=\"", "January", "information"}[r.IntN(5)], r.IntN(1e9))
	}
	return []byte(b.String()[:n])
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestNarrowWindows: what asks for a large window is decoded as ever with a small one, as
// far as that reaches.
func TestNarrowWindows(t *testing.T) {
	plain := text(3 << 20)
	for _, name := range []string{"br", "zstd", "single"} {
		encoded := wide(t, name, plain)
		for _, tt := range []struct {
			window int64
			most   int
			want   uint64
		}{
			{0, len(plain), uint64(len(plain))},
			{1 << 20, len(plain), 1<<20 - 16},
			{300_000, len(plain), 1<<18 - 16},
		} {
			d := Decoder{Config: Config{MaxWindow: tt.window, MaxRatio: 1000}}
			got, r := d.Decode(nil, encoded, true, wideHeader(name), tt.most)
			if !bytes.HasPrefix(plain, got) || r.Size != tt.want || (r.Decoding == complete) != (tt.want == uint64(len(plain))) {
				t.Errorf("%s, a window of %d: %d bytes, %+v, want %d", name, tt.window, len(got), r, tt.want)
			}
		}
		// In a shorter body, that is cut, none needs it.
		d := Decoder{}
		if n := allocated(func() { d.Decode(nil, encoded[:300], false, wideHeader(name), 100) }); n > 2<<20 {
			t.Errorf("%s: 300 bytes cost %d", name, n)
		}
	}
}

// TestNarrowWindowsOfAnything: whatever bytes follow, br and zstd decode to the same with
// the window they ask for.
func TestNarrowWindowsOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	plain := text(40 << 10)
	for _, name := range []string{"br", "zstd", "single"} {
		whole := wide(t, name, plain)
		for range 300 {
			encoded := bytes.Clone(whole)
			for range r.IntN(3) {
				encoded[len(encoded)/8+r.IntN(len(encoded)*7/8)] ^= 1 << r.IntN(8)
			}
			var in io.Reader = brotli.NewReader(bytes.NewReader(encoded))
			if name != "br" {
				z, err := zstd.NewReader(bytes.NewReader(encoded), zstd.WithDecoderConcurrency(1))
				if err != nil {
					t.Fatal(err)
				}
				defer z.Close()
				in = z
			}
			want, _ := io.ReadAll(io.LimitReader(in, freeRatio))
			var d Decoder
			got, result := d.Decode(nil, encoded, true, wideHeader(name), freeRatio)
			if !bytes.Equal(got, want[:min(len(want), len(got))]) || name == "br" && len(got) < len(want) {
				t.Fatalf("%s: %d bytes, want %d: %+v", name, len(got), len(want), result)
			}
		}
	}
}

// TestWindowsAreBounded: a few bytes cost little, however large windows they ask for, and
// how often, and under a limit no later frame has more.
func TestWindowsAreBounded(t *testing.T) {
	br, z := []byte("hello"), []byte("hello")
	for range maxCodings {
		br = append([]byte{0xcf, 0xff, 0xff, 0xff}, br...) // 24 bits, then a block of 16 MiB
		z = append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, byte(len(z)<<3 | 1), byte(len(z) >> 5), 0}, z...)
	}
	for name, encoded := range map[string][]byte{"br": br, "zstd": z} {
		codings := []string{strings.Repeat(name+",", maxCodings)}
		var d Decoder
		if n := allocated(func() { d.Decode(nil, encoded, true, codings, 100) }); n > 6<<20 {
			t.Errorf("%s: %d bytes cost %d", name, len(encoded), n)
		}
	}
	d := Decoder{Config: Config{MaxWindow: 1 << 20}}
	frames := append(wide(t, "zstd", []byte("first")), z...)
	if got, r := d.Decode(nil, frames, true, []string{"zstd"}, 100); string(got) != "first" || r.Decoding != limit {
		t.Errorf("%q, %+v", got, r)
	}
}

// TestChainsAreReused: so is each of several decoders of one coding.
func TestChainsAreReused(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has sync.Pool forget at random")
	}
	plain := words(2000)
	encoded := encode(t, "gzip", encode(t, "gzip", plain))
	var d Decoder
	dst := make([]byte, 0, len(plain))
	if n := testing.AllocsPerRun(50, func() { dst, _ = d.Decode(dst[:0], encoded, true, []string{"gzip, gzip"}, len(plain)) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
