package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
	capstanv1 "capstan/proto/capstan/v1"
)

func batchOf(sequence uint64, lens ...int) *capstanv1.DeliverRequest {
	b := &capstanv1.Batch{Sequence: sequence}
	for _, n := range lens {
		b.Exchanges = append(b.Exchanges, make([]byte, n))
	}
	return &capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Batch{Batch: b}}
}

func helloOf(node string) *capstanv1.DeliverRequest {
	return &capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Hello{Hello: &capstanv1.Hello{Node: node}}}
}

// frame returns m as gRPC frames it.
func frame(t testing.TB, m proto.Message, compressed bool) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	flag := byte(0)
	if compressed {
		flag = 1
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b = z.Bytes()
	}
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(b))), b...)
}

// recorder is a response whose reads have no deadline.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetReadDeadline(time.Time) error { return nil }

func newTestCall(s *Server, body []byte) *call {
	r := httptest.NewRequest(http.MethodPost, capstanv1.Collector_Deliver_FullMethodName, bytes.NewReader(body))
	r.Header.Set("Grpc-Encoding", "gzip")
	c := s.newCall(recorder{httptest.NewRecorder()}, r)
	c.share.of = &s.intake
	return c
}

// TestStrangersAreBrief: a first message is no longer than a hello may be, neither
// on the wire nor decompressed, and one that only says that it will be long is refused at once.
func TestStrangersAreBrief(t *testing.T) {
	address, _ := serve(t, NewServer(new(store).put, Limits{}), "127.0.0.1:0")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, option := range map[string]grpc.CallOption{"plain": grpc.UseCompressor("identity"), "compressed": grpc.UseCompressor(grpcgzip.Name)} {
		stream, err := capstanv1.NewCollectorClient(conn).Deliver(t.Context(), option)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(batchOf(1, 1<<20)); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "4096") {
			t.Errorf("%s: %v", name, err)
		}
	}

	s := NewServer(new(store).put, Limits{})
	c := newTestCall(s, []byte{0, 3, 0, 0, 0})
	if err := s.deliver(t.Context(), c, "peer"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("48 MiB announced: %v", err)
	}
}

// TestIntake: what is held is what messages have, compressed or not, until they
// are stored, and no more than the limit. One alone may be longer.
func TestIntake(t *testing.T) {
	const limit = 3 << 20
	for _, compressed := range []bool{false, true} {
		s := NewServer(new(store).put, Limits{Memory: limit})
		first := newTestCall(s, frame(t, batchOf(1, 2<<20), compressed))
		m, err := first.receive(MaxMessage, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if in := s.Intake(); in.Bytes != int64(proto.Size(m)) || in.Limit != limit {
			t.Errorf("%+v, %d are held", in, proto.Size(m))
		}
		second := newTestCall(s, frame(t, batchOf(1, 2<<20), compressed))
		if _, err := second.receive(MaxMessage, time.Time{}); !errors.Is(err, errCrowded) {
			t.Errorf("%v", err)
		}
		second.end(err)
		if in := s.Intake(); in.Bytes != int64(proto.Size(m)) || in.Denied != 1 {
			t.Errorf("%+v", in)
		}
		first.done()
		alone := newTestCall(s, frame(t, batchOf(1, 5<<20), compressed))
		if _, err := alone.receive(MaxMessage, time.Time{}); err != nil {
			t.Error(err)
		}
		alone.end(nil)
		if in := s.Intake(); in.Bytes != 0 {
			t.Errorf("%+v", in)
		}
	}
}

// TestManyLongMessages: whoever is sent away comes again, and all arrives.
func TestManyLongMessages(t *testing.T) {
	const senders, limit = 12, 3 << 20
	st := new(store)
	s := NewServer(st.put, Limits{Memory: limit})
	address, _ := serve(t, s, "127.0.0.1:0")
	var wg sync.WaitGroup
	for range senders {
		sink := newSink(t, address, "n")
		wg.Go(func() {
			record := []*delivery.Record{{Raw: make([]byte, 1<<20)}}
			for sink.Deliver(context.Background(), record) != nil {
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := len(st.records); n != senders {
		t.Errorf("%d arrived", n)
	}
	if in := s.Intake(); in.Bytes != 0 {
		t.Errorf("%+v", in)
	}
}

// TestNotGRPC: who doesn't speak the protocol is told so, in his own.
func TestNotGRPC(t *testing.T) {
	s := NewServer(new(store).put, Limits{})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("%d", w.Code)
	}
	address, _ := serve(t, s, "127.0.0.1:0")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = capstanv1.NewInterceptorClient(conn).GetStatus(t.Context(), &capstanv1.GetStatusRequest{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "GetStatus") {
		t.Errorf("%v", err)
	}
}

// TestWordsOfErrors: any text of an error arrives.
func TestWordsOfErrors(t *testing.T) {
	const words = "100% full:\n„Platte“"
	address, _ := serve(t, NewServer((&store{err: errors.New(words)}).put, Limits{}), "127.0.0.1:0")
	if err := newSink(t, address, "n").Deliver(t.Context(), batch("1")); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v", err)
	}
}

// FuzzReceive: messages are what the framing says, whatever it says, and nothing
// stays held.
func FuzzReceive(f *testing.F) {
	f.Add(append(frame(f, helloOf("n"), false), frame(f, batchOf(1, 3, 5), true)...))
	f.Add([]byte{1, 0, 0, 0, 1, 0})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		const limit = 1 << 16
		s := NewServer(new(store).put, Limits{})
		c := newTestCall(s, body)
		for rest := body; ; {
			got, err := c.receive(limit, time.Time{})
			var want *capstanv1.DeliverRequest
			want, rest = expect(rest, limit)
			if (err == nil) != (want != nil) || err == nil && !proto.Equal(got, want) {
				t.Fatalf("%v, %v, want %v", got, err, want)
			}
			c.done()
			if err != nil {
				break
			}
		}
		if c.end(nil); s.Intake().Bytes != 0 {
			t.Fatalf("%+v", s.Intake())
		}
	})
}

// expect is the message at the start of body, and what follows it; nil if there
// is none.
func expect(body []byte, limit int) (*capstanv1.DeliverRequest, []byte) {
	if len(body) < prefixLen {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint32(body[1:]))
	if n > limit || n > len(body)-prefixLen {
		return nil, nil
	}
	b, rest := body[prefixLen:prefixLen+n], body[prefixLen+n:]
	if body[0] != 0 {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, nil
		}
		if b, err = io.ReadAll(z); err != nil || len(b) > limit {
			return nil, nil
		}
	}
	m := new(capstanv1.DeliverRequest)
	if proto.Unmarshal(b, m) != nil {
		return nil, nil
	}
	return m, rest
}
