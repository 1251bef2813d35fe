package exchange

import (
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func TestParametersAreMasked(t *testing.T) {
	mask := newMaskSet(append(DefaultMaskQuery(), "pin"))
	for in, want := range map[string]string{
		"":                                       "",
		"/token=a":                               "/token=a",
		"/a?":                                    "/a?",
		"/a?token":                               "/a?token",
		"/a?token=":                              "/a?token=",
		"/a?token=s":                             "/a?token=***",
		"/a?x=1&Token=s&y=2":                     "/a?x=1&Token=***&y=2",
		"/a?token=s=t&token=u":                   "/a?token=***&token=***",
		"/a?pin=1;x=2;sig=3":                     "/a?pin=***;x=2;sig=***",
		"/a?%73ig=s":                             "/a?%73ig=***",
		"/a?s%zzg=s":                             "/a?s%zzg=s",
		"/a?tokens=s&my_token=s":                 "/a?tokens=s&my_token=s",
		"/cb#access_token=s&state=x":             "/cb#access_token=***&state=x",
		"/a?to=http://b/?sig=s":                  "/a?to=http://b/?sig=***",
		"http://h/a?X-Amz-Signature=f&X-Amz-A=1": "http://h/a?X-Amz-Signature=***&X-Amz-A=1",
		"/a?token=***":                           "/a?token=***",
		"/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=x":               "/cb?code=***&state=x",
		"/cb?state=x&CODE=4%2F0AeanS0bQ1v9c8d7e6f":              "/cb?state=x&CODE=***",
		"/cb#%63ode=0123456789abcdef":                           "/cb#%63ode=***",
		"/a?code=404&code=DE&code=0123456789abcde":              "/a?code=404&code=DE&code=0123456789abcde",
		"/maps?key=AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY&q=x": "/maps?key=***&q=x",
		"/kv?key=customer/AIza/0123456789abcdef":                "/kv?key=customer/AIza/0123456789abcdef",
	} {
		got, found := mask.maskParameters(in)
		if got != want || found != (in != want) {
			t.Errorf("%q became %q (%v), want %q", in, got, found, want)
		}
	}
}

// TestParametersByName: a name that is to be masked is masked whatever its value, and
// without the usual ones no value tells.
func TestParametersByName(t *testing.T) {
	const url = "/a?code=DE&code=0123456789abcdef&key=k&key=AIza"
	for want, names := range map[string][]string{
		"/a?code=***&code=***&key=***&key=***":             append(DefaultMaskQuery(), "code", "key"),
		"/a?code=DE&code=***&key=k&key=***":                DefaultMaskQuery(),
		"/a?code=DE&code=0123456789abcdef&key=***&key=***": {"key"},
	} {
		if got, _ := newMaskSet(names).maskParameters(url); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}

// TestURLsOfRecords: a secret is in no place of a record where a URL is.
func TestURLsOfRecords(t *testing.T) {
	const secret = "/a?x=1&access_token=planted"
	header := func(name string) *capstanv1.Header { return &capstanv1.Header{Name: name, Value: "http://h" + secret} }
	exchange := func() *capstanv1.Exchange {
		return &capstanv1.Exchange{
			Request:  &capstanv1.HttpRequest{Target: secret, Headers: []*capstanv1.Header{header("referer"), header("X-Other")}},
			Response: &capstanv1.HttpResponse{Headers: []*capstanv1.Header{header("Location"), header("Content-Location")}},
		}
	}
	got, stats := record(t, Config{}, testConnection(), exchange())
	if n := strings.Count(got.String(), "planted"); n != 1 || stats.MaskedQueries != 4 {
		t.Errorf("it is there %d times, masked in %d: %v", n, stats.MaskedQueries, got)
	}
	if got.Request.Target != "/a?x=1&access_token=***" {
		t.Error(got.Request.Target)
	}
	got, stats = record(t, Config{MaskQuery: []string{}}, testConnection(), exchange())
	if n := strings.Count(got.String(), "planted"); n != 5 || stats.MaskedQueries != 0 {
		t.Errorf("it is there %d times: %v", n, got)
	}
}

// TestLinks: what proxies tell of the target has its credentials too, and so may any URL
// before its host.
func TestLinks(t *testing.T) {
	fields := func(value string) (hs []*capstanv1.Header) {
		for _, name := range []string{"referer", "X-Original-URL", "x-original-uri", "X-Rewrite-Url", "X-Forwarded-Uri", "x-envoy-original-path", "Destination"} {
			hs = append(hs, &capstanv1.Header{Name: name, Value: value})
		}
		return hs
	}
	for value, want := range map[string]string{
		"/a?x=1&token=planted":                   "/a?x=1&token=***",
		"https://u:planted@h/a?token=planted#@x": "https://***@h/a?token=***#@x",
		"/@a://b@c":                              "/@a://b@c",
		"a@b":                                    "a@b",
	} {
		got, _ := record(t, Config{}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: fields(value)}})
		for _, f := range got.Request.Headers {
			if f.Value != want {
				t.Errorf("%s: %q became %q, want %q", f.Name, value, f.Value, want)
			}
		}
	}
	const plain = "https://u:p@h/?token=t"
	got, _ := record(t, Config{MaskHeaders: []string{}, MaskQuery: []string{}}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: fields(plain)}})
	if v := got.Request.Headers[0].Value; v != plain {
		t.Errorf("nothing is to be masked: %q", v)
	}
}

// TestBearerOfAHandshake: a token among subprotocols is masked, the others are told.
func TestBearerOfAHandshake(t *testing.T) {
	const name, token = "sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.cGxhbnRlZA"
	handshake := func() *capstanv1.Exchange {
		return &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: []*capstanv1.Header{
			{Name: name, Value: "v5.channel.k8s.io," + token + ", v4.channel.k8s.io"}, {Name: name, Value: "chat"}, {Name: "X-Other", Value: token},
		}}}
	}
	got, stats := record(t, Config{}, testConnection(), handshake())
	want := []string{"v5.channel.k8s.io,base64url.bearer.authorization.k8s.io.***, v4.channel.k8s.io", "chat", token}
	for i, f := range got.Request.Headers {
		if f.Value != want[i] {
			t.Errorf("%q, want %q", f.Value, want[i])
		}
	}
	if stats.MaskedHeaders != 1 {
		t.Errorf("%d fields are counted", stats.MaskedHeaders)
	}
	got, _ = record(t, Config{MaskHeaders: []string{}}, testConnection(), handshake())
	if v := got.Request.Headers[0].Value; !strings.Contains(v, token) {
		t.Errorf("nothing is to be masked: %q", v)
	}
}

// FuzzMaskParameters: all listed values are masked, nothing else is, and once.
func FuzzMaskParameters(f *testing.F) {
	for _, s := range []string{"/a?x=1&sig=2#sig=3", "?sig=&sig==", "/?%73ig=a;b", "#?&;sig=*** ", "?code=0123456789abcdef&key=AIza&code=1"} {
		f.Add(s)
	}
	mask := newMaskSet([]string{"sig", maskOAuthCode, maskGoogleKey})
	f.Fuzz(func(t *testing.T, s string) {
		got, found := mask.maskParameters(s)
		if again, more := mask.maskParameters(got); more || again != got {
			t.Fatalf("%q became %q, then %q", s, got, again)
		}
		if found == (got == s) {
			t.Fatalf("%q became %q, found %v", s, got, found)
		}
		// Both fall into the same parts, which are equal but for masked values.
		cut := func(s string) []string {
			return strings.FieldsFunc(s, func(r rune) bool { return r < 256 && separates[r] })
		}
		before, after := cut(s), cut(got)
		if len(before) != len(after) {
			t.Fatalf("%q became %q", s, got)
		}
		if at := strings.IndexAny(got, "?#"); at >= 0 {
			for _, part := range cut(got[at:]) {
				if key, value, _ := strings.Cut(part, "="); value != "" && value != masked && mask.listsParameter(key, value) {
					t.Fatalf("%q became %q", s, got)
				}
			}
		}
		for i, part := range after {
			if key, value, _ := strings.Cut(part, "="); part != before[i] && (value != masked || !mask.listsParameter(key, strings.TrimPrefix(before[i], key+"=")) || !strings.HasPrefix(before[i], key+"=")) {
				t.Fatalf("%q became %q", s, got)
			}
		}
	})
}
