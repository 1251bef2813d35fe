package content

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	capstanv1 "capstan/proto/capstan/v1"
)

const (
	complete    = capstanv1.Decoding_DECODING_COMPLETE
	partial     = capstanv1.Decoding_DECODING_PARTIAL
	invalid     = capstanv1.Decoding_DECODING_INVALID
	unsupported = capstanv1.Decoding_DECODING_UNSUPPORTED
	limit       = capstanv1.Decoding_DECODING_LIMIT
	none        = capstanv1.Decoding_DECODING_UNSPECIFIED
)

// encode applies a coding; "raw" is DEFLATE without zlib's format.
func encode(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch name {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw":
		w, err = flate.NewWriter(&out, 5)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// words are compressible, but not beyond what is common.
func words(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString([]string{"alpha ", "beta ", "gamma ", "delta ", "epsilon "}[r.IntN(5)])
	}
	return []byte(b.String()[:n])
}

var codingNames = []string{"gzip", "deflate", "raw", "br", "zstd"}

func header(coding string) []string {
	if coding == "raw" {
		coding = "deflate"
	}
	return []string{coding}
}

// TestDecode takes each coding whole, cut and spoilt, with decoders used before.
func TestDecode(t *testing.T) {
	var d Decoder
	plain := words(30_000)
	for range 2 {
		for _, name := range codingNames {
			encoded := encode(t, name, plain)
			got, r := d.Decode([]byte("in front:"), encoded, true, header(name), 100)
			if string(got) != "in front:"+string(plain[:100]) || r.Size != uint64(len(plain)) || r.Decoding != complete {
				t.Errorf("%s: %q, %+v", name, got, r)
			}
			if _, r = d.Decode(nil, encoded, false, header(name), 100); r.Decoding != partial || r.Size != uint64(len(plain)) {
				t.Errorf("%s of a body that isn't kept whole: %+v", name, r)
			}
			got, r = d.Decode(nil, encoded[:len(encoded)/2], true, header(name), 1<<20)
			if r.Decoding != partial || len(got) == 0 && name != "zstd" || !bytes.HasPrefix(plain, got) || uint64(len(got)) != r.Size {
				t.Errorf("%s cut: %d bytes, %+v", name, len(got), r)
			}
			spoilt := bytes.Clone(encoded)
			for i := range spoilt {
				spoilt[i] ^= 0x55
			}
			if _, r = d.Decode(nil, spoilt, true, header(name), 100); r.Decoding != invalid && r.Decoding != partial && r.Decoding != limit {
				t.Errorf("%s spoilt: %+v", name, r)
			}
			if got, r = d.Decode(nil, nil, true, header(name), 100); len(got) != 0 || r.Size != 0 || r.Decoding != complete && r.Decoding != partial {
				t.Errorf("%s of nothing: %q, %+v", name, got, r)
			}
		}
	}
}

func TestCodings(t *testing.T) {
	plain := words(500)
	twice := encode(t, "br", encode(t, "gzip", plain))
	fourfold := plain
	for range 4 {
		fourfold = encode(t, "gzip", fourfold)
	}
	for _, tt := range []struct {
		name    string
		encoded []byte
		codings []string
		want    capstanv1.Decoding
	}{
		{"two in one field", twice, []string{"gzip, br"}, complete},
		{"two in two fields", twice, []string{" GZIP", "identity,Br "}, complete},
		{"in the wrong order", twice, []string{"br, gzip"}, invalid},
		{"four", fourfold, []string{"gzip,gzip", "x-gzip,gzip"}, complete},
		{"five", fourfold, []string{"gzip,gzip,gzip,gzip,gzip"}, unsupported},
		{"not known", plain, []string{"gzip, compress"}, unsupported},
		{"identity", plain, []string{"identity"}, none},
		{"none", plain, nil, none},
		{"empty", plain, []string{""}, none},
		{"not what it says", plain, []string{"gzip"}, invalid},
		{"two members", append(encode(t, "gzip", plain[:200]), encode(t, "gzip", plain[200:])...), []string{"gzip"}, complete},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			got, r := d.Decode(nil, tt.encoded, true, tt.codings, 1<<20)
			if r.Decoding != tt.want || (r.Decoding == complete) != bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %+v, want %v", len(got), r, tt.want)
			}
		})
	}
}

// TestCase62Bombs decodes what would never end.
func TestCase62Bombs(t *testing.T) {
	bomb := make([]byte, 64<<20)
	for _, name := range codingNames {
		encoded := encode(t, name, bomb)
		for _, tt := range []struct {
			c    Config
			most uint64
		}{
			{Config{}, defaultMaxDecoded},
			{Config{MaxDecoded: 1000, MaxRatio: 1 << 20}, 1000},
			{Config{MaxRatio: 1}, max(freeRatio, uint64(len(encoded)))},
		} {
			d := Decoder{Config: tt.c}
			got, r := d.Decode(nil, encoded, true, header(name), 10)
			if r.Decoding != limit || r.Size > tt.most || len(got) != 10 {
				t.Errorf("%s, %d bytes, with %+v: %d bytes kept, %+v", name, len(encoded), tt.c, len(got), r)
			}
		}
	}
	nested := encode(t, "gzip", encode(t, "gzip", encode(t, "gzip", bomb)))
	var d Decoder
	if _, r := d.Decode(nil, nested, true, []string{"gzip,gzip,gzip"}, 10); r.Decoding != limit || r.Size > freeRatio {
		t.Errorf("%d bytes of three layers: %+v", len(nested), r)
	}
}

// TestDecodersAreReused: what is decoded often costs no memory.
func TestDecodersAreReused(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has sync.Pool forget at random")
	}
	plain := words(2000)
	var d Decoder
	dst := make([]byte, 0, len(plain))
	for name, most := range map[string]float64{"gzip": 0, "deflate": 0, "raw": 0, "zstd": 1, "br": 4} {
		encoded, codings := encode(t, name, plain), header(name)
		if n := testing.AllocsPerRun(50, func() { dst, _ = d.Decode(dst[:0], encoded, true, codings, len(plain)) }); n > most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, most)
		}
	}
}

// FuzzDecode decodes anything as anything: twice to the same, and what is
// encoded decodes to itself, after whatever came before.
func FuzzDecode(f *testing.F) {
	for _, name := range codingNames {
		f.Add(encode(f, name, words(300)), name, 1000)
	}
	f.Add(encode(f, "gzip", encode(f, "br", words(300))), "br, gzip", 10)
	f.Fuzz(func(t *testing.T, b []byte, codings string, room int) {
		if room < 0 || len(b) > 64<<10 {
			return
		}
		d := Decoder{Config: Config{MaxDecoded: 1 << 20}}
		first, r1 := d.Decode(nil, b, true, []string{codings}, room)
		again, r2 := d.Decode(nil, b, true, []string{codings}, room)
		if !bytes.Equal(first, again) || r1 != r2 {
			t.Errorf("%d bytes, %+v, then %d bytes, %+v", len(first), r1, len(again), r2)
		}
		if len(first) > room || uint64(len(first)) > r1.Size || r1.Size > 1<<20 {
			t.Errorf("%d bytes kept of %+v, room for %d", len(first), r1, room)
		}
		name := codingNames[len(b)%len(codingNames)] // one of them: encoders are slow to make
		got, r := d.Decode(nil, encode(t, name, b), true, header(name), len(b))
		if len(b) > 0 && (!bytes.Equal(got, b) || r.Decoding != complete) {
			t.Errorf("%s: %d of %d bytes, %+v", name, len(got), len(b), r)
		}
	})
}
