package exchange

import (
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// TestFields: fields are masked by their names and by what their values look like, in
// whole or in part, and the others are told as they are.
func TestFields(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		// By the name, as servers and gRPC read it.
		{"X-Shop-Token", "s", masked},
		{"x_api_key", "s", masked},
		{"authorization-bin", "c2VjcmV0", masked},
		{"X-Shop-Token-BIN", "c2VjcmV0", masked},
		{"Proxy-Authorization", "Basic s", masked},
		{"X-Serverless-Authorization", "s", masked},
		{"Cf-Access-Client-Secret", "s", masked},
		{"Cf-Access-Jwt-Assertion", "s", masked},
		{"-bin", "s", "s"},
		{"Token-Bucket", "s", "s"},
		{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="},
		{"Idempotency-Key", "1", "1"},

		// By the value.
		{"X-Backend", "Bearer abc.def", "Bearer ***"},
		{"X-Backend", "basic dTpw==", "basic ***"},
		{"X-Id", jwt, masked},
		{"X-Id", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9"},
		{"WWW-Authenticate", `Basic realm="shop"`, `Basic realm="shop"`},
		{"WWW-Authenticate", `Bearer error="invalid_token"`, `Bearer error="invalid_token"`},
		{"WWW-Authenticate", "Negotiate oYG2MIGz", "Negotiate ***"},
		{"Proxy-Authenticate", "NTLM TlRMTVNTUAAC", "NTLM ***"},
		{"WWW-Authenticate", "Negotiate", "Negotiate"},
		{"X-Callback", "https://u:p@h/?token=s", "https://***@h/?token=***"},
		{"X-Callback", "wss://h/?token=s", "wss://h/?token=***"},
		{"X-Path", "/a;jsessionid=s", "/a;jsessionid=***"},
		{"User-Agent", "Mozilla/5.0 (X11; x=y) token=s", "Mozilla/5.0 (X11; x=y) token=s"},
		{"From", "a@b", "a@b"},

		// URLs, and hosts.
		{"Location", "?token=s", "?token=***"},
		{"Location", "cb?code=0123456789abcdef#x", "cb?code=***"},
		{"Refresh", "0; url=https://h/?token=s", "0; url=https://h/?token=***"},
		{"Link", `<https://h/?token=s&p=2>; rel="next", <//u:p@h/>; title="a@b", </a>`, `<https://h/?token=***&p=2>; rel="next", <//***@h/>; title="a@b", </a>`},
		{"link", "</style.css>; rel=preload", "</style.css>; rel=preload"},
		{"Content-Location", "//u:p@h/", "//***@h/"},
		{"x-ms-copy-source", "https://a.blob.core.windows.net/c/b?sv=1&sig=s", "https://a.blob.core.windows.net/c/b?sv=1&sig=***"},
		{"Content-Security-Policy", "default-src 'self'; report-uri https://h/?token=s", "default-src 'self'; report-uri https://h/?token=***"},
		{"X-Forwarded-Query", "token=s", "token=***"},
		{"Host", "u:p@h:80", "***@h:80"},
		{"X-Forwarded-Host", "a, u:p@h", "***@h"},
		{"Forwarded", "for=1.2.3.4;host=u:p@h", "***@h"},
		{"Forwarded", "for=1.2.3.4;host=h", "for=1.2.3.4;host=h"},

		// Subprotocols of WebSocket.
		{"Sec-WebSocket-Protocol", "v5.channel.k8s.io,base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io", "v5.channel.k8s.io,base64url.bearer.authorization.k8s.io.***, v4.channel.k8s.io"},
		{"sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-s", "realtime, openai-insecure-api-key.***"},
		{"Sec-WebSocket-Protocol", "access_token, s, chat", "access_token, ***, chat"},
		{"Sec-WebSocket-Protocol", "Bearer,s", "Bearer,***"},
		{"Sec-WebSocket-Protocol", jwt, masked},
		{"Sec-WebSocket-Protocol", "graphql-transport-ws, graphql-ws", "graphql-transport-ws, graphql-ws"},
		{"Sec-WebSocket-Protocol", "protobuf.reliable.webpubsub.azure.v1", "protobuf.reliable.webpubsub.azure.v1"},
	} {
		field := func() []*capstanv1.Header { return []*capstanv1.Header{{Name: tc.name, Value: tc.value}} }
		x, stats := record(t, Config{}, testConnection(), &capstanv1.Exchange{
			Request:  &capstanv1.HttpRequest{Headers: field(), Trailers: field()},
			Response: &capstanv1.HttpResponse{Headers: field(), Trailers: field()},
		})
		for _, f := range [][]*capstanv1.Header{x.Request.Headers, x.Request.Trailers, x.Response.Headers, x.Response.Trailers} {
			if f[0].Value != tc.want {
				t.Errorf("%s: %q became %q, want %q", tc.name, tc.value, f[0].Value, tc.want)
			}
		}
		changed := tc.value != tc.want
		if (stats.MaskedHeaders+stats.MaskedQueries > 0) != changed {
			t.Errorf("%s: %q: %d fields and %d URLs counted", tc.name, tc.value, stats.MaskedHeaders, stats.MaskedQueries)
		}
		if s := NewRecorder(Config{}).Screen(); s.Masks(tc.name, tc.value) != changed || changed && s.Passes(tc.name, tc.value) {
			t.Errorf("%s: %q: the screen says otherwise", tc.name, tc.value)
		}
		x, _ = record(t, Config{Keep: NewKeep(0, []string{}, []string{})}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: field()}})
		if v := x.Request.Headers[0].Value; v != tc.value {
			t.Errorf("nothing is to be masked: %s: %q became %q", tc.name, tc.value, v)
		}
	}
}

// TestBrokenFields: in a malformed message others may read other fields.
func TestBrokenFields(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{"cookie ", "s", masked},
		{"cookie\x00", "s", masked},
		{"\x00x\tcookie", "s", masked},
		{":cookie", "s", masked},
		{"X-Other", "a Authorization: Basic s", "a Authorization:***"},
		{"X-Other", "a\rcookie:s=1 more: s", "a\rcookie:***"},
		{"X-Other", "a\rcookie \t: s=1", "a\rcookie \t:***"},
		{"X-Other", "a:b: c : d", "a:b: c : d"},
		{"X-Other", "Cookies: a", "Cookies: a"},
	} {
		for _, broken := range []bool{true, false} {
			field := func() []*capstanv1.Header { return []*capstanv1.Header{{Name: tc.name, Value: tc.value}} }
			x := &capstanv1.Exchange{
				Request:  &capstanv1.HttpRequest{Headers: field(), Trailers: field(), Authority: tc.value},
				Response: &capstanv1.HttpResponse{Headers: field(), Trailers: field(), Reason: tc.value},
			}
			want := tc.value
			if broken {
				x.Flaws, want = append(x.Flaws, capstanv1.Flaw_FLAW_MALFORMED), tc.want
			}
			r := NewRecorder(Config{Emit: func(*capstanv1.Exchange) {}})
			r.Emit(testConnection(), x, Screened{Request: r.Screen(), Response: r.Screen()})
			got := []string{x.Request.Headers[0].Value, x.Response.Headers[0].Value}
			if want != masked {
				got = append(got, x.Request.Authority, x.Response.Reason)
			}
			for _, v := range append(got, x.Request.Trailers[0].Value, x.Response.Trailers[0].Value) {
				if v != want {
					t.Errorf("broken %v: %q: %q became %q, want %q", broken, tc.name, tc.value, v, want)
				}
			}
		}
	}
}

// TestCallsByTarget: what gRPC calls service and method is a path.
func TestCallsByTarget(t *testing.T) {
	for target, want := range map[string][3]string{
		"//u:p@h/Buy":      {"/u:p@h", "Buy", "/***@h Buy"},
		"/shop.Shop/Buy":   {"shop.Shop", "Buy", "shop.Shop Buy"},
		"//?token=s":       {"", "", " "},
		"/a//u:p@h;b=c":    {"a/", "u:p@h;b=c", "a/ ***@h;b=c"},
		"/a/" + jwt + "/b": {"a/" + jwt, "b", "a/*** b"},
	} {
		x, _ := record(t, Config{}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Target: target}, Grpc: &capstanv1.Grpc{Service: want[0], Method: want[1]}})
		if got := x.Grpc.Service + " " + x.Grpc.Method; got != want[2] {
			t.Errorf("%s calls %q, want %q", target, got, want[2])
		}
	}
}

// TestWhatRepeatsCredentials: what else of a record comes from a target, or from a field.
func TestWhatRepeatsCredentials(t *testing.T) {
	x, _ := record(t, Config{}, testConnection(), &capstanv1.Exchange{
		Request:   &capstanv1.HttpRequest{Target: "/shop;token=s/Buy;token=s?x=1"},
		Grpc:      &capstanv1.Grpc{Service: "shop;token=s", Method: "Buy;token=s"},
		Websocket: &capstanv1.WebSocket{Subprotocol: "access_token,s"},
	})
	if x.Request.Target != "/shop;token=***/Buy;token=***?x=1" || x.Grpc.Service != "shop;token=***" || x.Grpc.Method != "Buy;token=***" || x.Websocket.Subprotocol != "access_token,***" {
		t.Errorf("%v", x)
	}
}

// TestCutTargets: what is missing of a target may be what tells that there is a credential.
func TestCutTargets(t *testing.T) {
	for _, tc := range []struct{ target, want, whole string }{
		{"/a?next=https%3A%2F%2Fu%3Apla", "/a?next=https%3A%2F%2F***", ""},
		{"/a?next=https%3A%2F%2Fhost", "/a?next=https%3A%2F%2Fhost", ""},
		{"/a?code=Sp", "/a?code=***", ""},
		{"/a?key=AI", "/a?key=***", ""},
		{"/a?key=AB", "/a?key=AB", ""},
		{"/a?code=404&x=1", "/a?code=404&x=1", ""},
		{"/a/eyJhbGci", "/a/***", ""},
		{"/a/eyJhbGci/b", "/a/eyJhbGci/b", ""},
		{"http://u:pla", "http://***", ""},
		{"u:pla", "***", ""},
		{"http://u:p@h/?token=s", "http://***@h/?token=***", "http://***@h/?token=***"},
	} {
		for _, version := range []string{"", "HTTP/1.1"} {
			x, _ := record(t, Config{}, testConnection(), &capstanv1.Exchange{
				Request: &capstanv1.HttpRequest{Target: tc.target, Version: version, Authority: "told"}, Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_HEADERS_CUT},
			})
			want := tc.want
			if version != "" {
				if want = tc.whole; want == "" {
					want = tc.target
				}
			}
			if x.Request.Target != want {
				t.Errorf("%q became %q, want %q", tc.target, x.Request.Target, want)
			}
			if hidden := version == "" && want[0] != '/'; (x.Request.Authority == "") != hidden {
				t.Errorf("%q asks %q", tc.target, x.Request.Authority)
			}
		}
	}
}
