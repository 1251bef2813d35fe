package text

import (
	"testing"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

func TestColumns(t *testing.T) {
	ends := func(x *capstanv1.Exchange) *capstanv1.Exchange {
		x.Client, x.Server = &capstanv1.Endpoint{Address: "10.0.0.2", Port: 4711}, &capstanv1.Endpoint{Address: "2001:db8::1", Port: 80}
		x.StartTimeUnixNs = 1_700_000_000_123_000_000
		return x
	}
	ask := &capstanv1.HttpRequest{Method: "GET", Target: "/cart?id=1", Authority: "shop", Body: &capstanv1.Body{Size: 5}}
	for _, tt := range []struct {
		x    *capstanv1.Exchange
		want string
	}{
		{&capstanv1.Exchange{Request: ask, Response: &capstanv1.HttpResponse{Status: 200}, DurationNs: 3_400_000},
			"22:13:20.123 200        3.4ms GET http://shop/cart?id=1 5 B/0 B 10.0.0.2:4711 → [2001:db8::1]:80\n"},
		{&capstanv1.Exchange{Request: ask, Response: &capstanv1.HttpResponse{Status: 200}, Grpc: &capstanv1.Grpc{StatusKnown: true, Status: 16}, DurationNs: 999_900_000},
			"22:13:20.123 200/16   999.9ms GET http://shop/cart?id=1 5 B/0 B 10.0.0.2:4711 → [2001:db8::1]:80\n"},
		{&capstanv1.Exchange{Request: ask, Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_RESPONSE}},
			"22:13:20.123 –      !      0s GET http://shop/cart?id=1 5 B/– 10.0.0.2:4711 → [2001:db8::1]:80 (response not seen)\n"},
		{&capstanv1.Exchange{Response: &capstanv1.HttpResponse{Status: 404}, DurationNs: 1_000},
			"22:13:20.123 404          1µs – – –/0 B 10.0.0.2:4711 → [2001:db8::1]:80\n"},
		{&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_OTHER, Connection: &capstanv1.Connection{LooksLike: "ssh", Close: capstanv1.Close_CLOSE_FIN}},
			"22:13:20.123               0s TCP ssh fin 0 B/0 B 10.0.0.2:4711 → [2001:db8::1]:80\n"},
		{&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_TLS, Tls: &capstanv1.Tls{ServerName: "shop"}, Connection: &capstanv1.Connection{LooksLike: "http", Close: capstanv1.Close_CLOSE_FIN}},
			"22:13:20.123               0s TLS shop answer=http fin 0 B/0 B 10.0.0.2:4711 → [2001:db8::1]:80\n"},
	} {
		if got := string(Encoder{Columns: true, Location: time.UTC}.Append(nil, ends(tt.x))); got != tt.want {
			t.Errorf("got\n%swant\n%s", got, tt.want)
		}
	}
}
