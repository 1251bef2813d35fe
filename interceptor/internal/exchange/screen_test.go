package exchange

import (
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func TestScreenPasses(t *testing.T) {
	s := NewRecorder(Config{Keep: NewKeep(0, []string{"Authorization", "X-Pin"}, nil)}).Screen()
	for _, tc := range []struct {
		name, value string
		want        bool
	}{
		{"Accept", "*/*", true},
		{"Content-Length", "5", true},
		{"", "", true},
		{"Authorization", "Basic", false},
		{"x-pin", "", false},
		{"Referer", "/?token=a", false},
		{"location", "/", true},
		{"X-Back", "/?token=a", false},
		{"X-Back", "Bearer a", false},
		{"Content-Encoding", "gzip", false},
		{"content-encoding", "br", false},
		{"Transfer-Encoding", "gzip, chunked", false},
		{"Transfer-Encoding", "Chunked", true},
		{"Host", "shop:80", true},
		{"HOST", "u:p@shop", false},
		{"Sec-WebSocket-Protocol", "v4.channel.k8s.io", true},
		{"sec-websocket-protocol", "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9r", false},
	} {
		if got := s.Passes(tc.name, tc.value); got != tc.want {
			t.Errorf("%s: %q passes: %t, want %t", tc.name, tc.value, got, tc.want)
		}
	}
	if s = NewRecorder(Config{Keep: NewKeep(0, []string{"Host"}, nil)}).Screen(); s.Passes("Host", "shop") {
		t.Error("passes a Host that is to be masked")
	}
}

// TestPassedFieldsStay shows that fields are left alone by the screen that they have
// passed, and by no other.
func TestPassedFieldsStay(t *testing.T) {
	keep := NewKeep(100, []string{"X-Pin"}, nil)
	old := keep.now.Load()
	keep.Set(100, []string{"X-Pin"}, nil)
	for _, tc := range []struct {
		screen *Screen
		want   string
	}{{keep.now.Load(), "1"}, {old, masked}, {nil, masked}} {
		var got *capstanv1.Exchange
		r := NewRecorder(Config{Keep: keep, Emit: func(x *capstanv1.Exchange) { got = x }})
		pin := func() []*capstanv1.Header { return []*capstanv1.Header{{Name: "X-Pin", Value: "1"}} }
		r.Emit(testConnection(), &capstanv1.Exchange{
			Request:  &capstanv1.HttpRequest{Headers: pin()},
			Response: &capstanv1.HttpResponse{Headers: pin(), Trailers: pin()},
		}, Screened{Request: tc.screen, Response: tc.screen})
		if q, s := got.Request.Headers[0].Value, got.Response.Headers[0].Value; q != tc.want || s != tc.want {
			t.Errorf("X-Pin is %q in the request and %q in the response, want %q", q, s, tc.want)
		}
		if v := got.Response.Trailers[0].Value; v != masked {
			t.Errorf("X-Pin is %q in trailers", v)
		}
	}
}
