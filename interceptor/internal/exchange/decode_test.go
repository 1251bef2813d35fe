package exchange

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"capstan/interceptor/internal/content"
	capstanv1 "capstan/proto/capstan/v1"
)

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEmitDecodesBodies takes bodies kept whole and in part, whose codings stand
// in either field.
func TestEmitDecodesBodies(t *testing.T) {
	plain := strings.Repeat("text of a body, ", 50)
	whole := gzipped(t, plain)
	for _, tt := range []struct {
		name     string
		fields   []*capstanv1.Header
		content  []byte
		cut      bool
		want     capstanv1.Decoding
		wantSize int
	}{
		{"content coding", []*capstanv1.Header{{Name: "content-ENCODING", Value: "gzip"}}, whole, false, capstanv1.Decoding_DECODING_COMPLETE, len(plain)},
		{"transfer coding", []*capstanv1.Header{{Name: "Transfer-Encoding", Value: "gzip, chunked"}}, whole, false, capstanv1.Decoding_DECODING_COMPLETE, len(plain)},
		{"both", []*capstanv1.Header{{Name: "Transfer-Encoding", Value: "gzip"}, {Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Content-Encoding", Value: "gzip"}},
			gzipped(t, string(whole)), false, capstanv1.Decoding_DECODING_COMPLETE, len(plain)},
		{"kept in part", []*capstanv1.Header{{Name: "Content-Encoding", Value: "gzip"}}, whole[:len(whole)-9], true, capstanv1.Decoding_DECODING_PARTIAL, -1},
		{"chunked alone", []*capstanv1.Header{{Name: "Transfer-Encoding", Value: "chunked"}}, whole, false, capstanv1.Decoding_DECODING_UNSPECIFIED, 0},
		{"too many fields", []*capstanv1.Header{{Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Encoding", Value: "gzip"},
			{Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Encoding", Value: "gzip"}}, whole, false, capstanv1.Decoding_DECODING_UNSUPPORTED, 0},
		{"nothing kept", []*capstanv1.Header{{Name: "Content-Encoding", Value: "gzip"}}, nil, true, capstanv1.Decoding_DECODING_UNSPECIFIED, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := func() *capstanv1.Body {
				return &capstanv1.Body{Size: uint64(len(tt.content)), Content: tt.content, Truncated: tt.cut}
			}
			x, stats := record(t, Config{Keep: NewKeep(100, nil, nil)}, testConnection(), &capstanv1.Exchange{
				Request:  &capstanv1.HttpRequest{Headers: tt.fields, Body: body()},
				Response: &capstanv1.HttpResponse{Headers: tt.fields, Body: body()},
			})
			for _, b := range []*capstanv1.Body{x.Request.Body, x.Response.Body} {
				if b.Decoding != tt.want || tt.wantSize >= 0 && b.DecodedSize != uint64(tt.wantSize) {
					t.Errorf("%v, %d bytes; want %v, %d", b.Decoding, b.DecodedSize, tt.want, tt.wantSize)
				}
				if want := plain[:min(b.DecodedSize, 100)]; string(b.Decoded) != want {
					t.Errorf("decoded %q, want %q", b.Decoded, want)
				}
			}
			if tt.want != 0 && stats.Decoded[tt.want] != 2 {
				t.Errorf("counted %v", stats.Decoded)
			}
		})
	}
}

func TestEmitBoundsWhatBodiesDecodeTo(t *testing.T) {
	x, _ := record(t, Config{Keep: NewKeep(100, nil, nil), Content: content.Config{MaxDecoded: 150}}, testConnection(), &capstanv1.Exchange{
		Response: &capstanv1.HttpResponse{
			Headers: []*capstanv1.Header{{Name: "Content-Encoding", Value: "gzip"}},
			Body:    &capstanv1.Body{Content: gzipped(t, strings.Repeat("a", 1000))},
		},
	})
	if b := x.Response.Body; b.Decoding != capstanv1.Decoding_DECODING_LIMIT || b.DecodedSize != 150 || len(b.Decoded) != 100 {
		t.Errorf("%v", b)
	}
}

// TestWhatIsKeptToDecodeIsCounted: until it is let go of.
func TestWhatIsKeptToDecodeIsCounted(t *testing.T) {
	r := NewRecorder(Config{Keep: NewKeep(100, nil, nil), Emit: func(*capstanv1.Exchange) {}})
	r.Emit(testConnection(), &capstanv1.Exchange{Response: &capstanv1.HttpResponse{
		Headers: []*capstanv1.Header{{Name: "Content-Encoding", Value: "gzip"}},
		Body:    &capstanv1.Body{Content: gzipped(t, strings.Repeat("a", 1000))},
	}}, Screened{})
	if s := r.Stats(); s.HeldDecoders < 32<<10 {
		t.Errorf("%+v", s)
	}
	r.Release()
	if s := r.Stats(); s.HeldDecoders != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// TestCutBodiesAreCounted: those of which there is more than may be kept, and no others.
func TestCutBodiesAreCounted(t *testing.T) {
	for _, tt := range []struct {
		limit int
		body  *capstanv1.Body
		cut   uint64
	}{
		{4, &capstanv1.Body{Size: 5, Content: []byte("1234"), Truncated: true}, 1},
		{4, &capstanv1.Body{Size: 4, Content: []byte("1234")}, 0},
		{4, &capstanv1.Body{Size: 5, GapBytes: 2, Content: []byte("123"), Truncated: true}, 0},
		{0, &capstanv1.Body{Size: 1, Truncated: true}, 1},
	} {
		_, stats := record(t, Config{Keep: NewKeep(tt.limit, nil, nil)}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Body: tt.body}})
		if stats.CutBodies != tt.cut {
			t.Errorf("limit %d, %v: %d are counted", tt.limit, tt.body, stats.CutBodies)
		}
	}
}

// TestEmitOfConnections: a connection has no halves that could be missing.
func TestEmitOfConnections(t *testing.T) {
	x, stats := record(t, Config{}, testConnection(), &capstanv1.Exchange{
		Connection: &capstanv1.Connection{}, StartTimeUnixNs: 5, DurationNs: 7, Complete: true,
	})
	if len(x.Flaws) != 0 || x.StartTimeUnixNs != 5 || x.DurationNs != 7 || !x.Complete {
		t.Errorf("%v", x)
	}
	if stats.Connections != 1 || stats.Total() != 1 {
		t.Errorf("counted as %+v", stats)
	}
}

// TestUndo takes parts of bodies.
func TestUndo(t *testing.T) {
	r := NewRecorder(Config{})
	plain := strings.Repeat("x", maxUndone)
	for _, tt := range []struct {
		name, coding string
		encoded      []byte
		whole        bool
		want         string
		all          bool
	}{
		{"gzip", "gzip", gzipped(t, "grpc-status: 0"), true, "grpc-status: 0", true},
		{"as long as may be", "gzip", gzipped(t, plain), true, plain, true},
		{"longer", "gzip", gzipped(t, plain+"y"), true, plain, false},
		{"identity", "identity", []byte("as it is"), true, "as it is", true},
		{"identity, cut", "", []byte("as it"), false, "as it", false},
		{"not of that coding", "gzip", []byte("as it is"), true, "", false},
		{"unknown", "snappy", []byte("as it is"), true, "", false},
	} {
		got, all := r.Undo(tt.encoded, tt.whole, tt.coding)
		if string(got) != tt.want || all != tt.all {
			t.Errorf("%s: %d bytes, all %v; want %d, %v", tt.name, len(got), all, len(tt.want), tt.all)
		}
	}
	if got, all := r.Undo(gzipped(t, "grpc-status: 0")[:20], false, "gzip"); all || !strings.HasPrefix("grpc-status: 0", string(got)) {
		t.Errorf("cut: %q, all %v", got, all)
	}
	if n := r.Stats().Decoded; n != [NumDecodings]uint64{} {
		t.Errorf("counted as bodies: %v", n)
	}
}
