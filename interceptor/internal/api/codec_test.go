package api

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"

	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/interceptor/internal/watch"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestCodec holds what is put together of encoded parts to the message encoded as
// a whole, and leaves others to protobuf.
func TestCodec(t *testing.T) {
	library := encoding.GetCodecV2(proto.Name)
	for _, n := range []int{0, 1, 100, 127, 128, 20_000} {
		x := &capstanv1.Exchange{Id: "id", Response: &capstanv1.HttpResponse{Body: &capstanv1.Body{Content: make([]byte, n), Decoded: make([]byte, n)}}}
		r := deliverytest.Record(t, x)
		for _, omit := range []bool{false, true} {
			m, err := response(&watch.Event{Record: r, Token: "token"}, omit)
			if err != nil {
				t.Fatal(err)
			}
			got, err := newCodec().Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			want := x
			if omit {
				want = withoutContent(x)
				if b := want.Response.Body; n > 0 && (len(b.Content)+len(b.Decoded) > 0 || !b.Truncated) {
					t.Errorf("%v has content", b)
				}
			}
			whole, err := library.Marshal(&capstanv1.WatchResponse{Event: &capstanv1.WatchResponse_Exchange{
				Exchange: &capstanv1.WatchedExchange{Exchange: want, ResumeToken: "token"}}})
			if err != nil || !bytes.Equal(got.Materialize(), whole.Materialize()) {
				t.Errorf("%d bytes, omit %v: %x, want %x (%v)", n, omit, got.Materialize(), whole.Materialize(), err)
			}
		}
	}
}
