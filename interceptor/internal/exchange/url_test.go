package exchange

import (
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// jwt is a JSON web token.
const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"

// TestURLs takes targets, and URLs of fields, which start with a host only where that is
// said.
func TestURLs(t *testing.T) {
	screen := newScreen(0, nil, append(DefaultMaskQuery(), "pin"))
	screen.mask = newMaskSet(DefaultMaskHeaders())
	for in, want := range map[string]string{
		"":                   "",
		"/token=a":           "/token=a",
		"/a?":                "/a?",
		"/a?token":           "/a?token",
		"/a?token=":          "/a?token=",
		"/a?token=s":         "/a?token=***",
		"/a?x=1&Token=s&y=2": "/a?x=1&Token=***&y=2",
		"/a&token=s":         "/a&token=***",
		"/a?token=***":       "/a?token=***",
		"http://h/a?X-Amz-Signature=f&X-Amz-Algorithm=1": "http://h/a?X-Amz-Signature=***&X-Amz-Algorithm=1",
		"/cb#access_token=s&state=x":                     "/cb#access_token=***&state=x",

		// Some servers take ; # and ? for an end, and others for a part of the value.
		"/a?pin=1;x=2;sig=3":    "/a?pin=***",
		"/a?x=2;sig=3&y=4":      "/a?x=2;sig=***&y=4",
		"/a?token=s=t&token=u":  "/a?token=***&token=***",
		"/a?token=s#t&y=1":      "/a?token=***&y=1",
		"/a?token=s?t":          "/a?token=***",
		"/a?to=http://b/?sig=s": "/a?to=http://b/?sig=***",

		// Names as servers read them.
		"/a?%73ig=s":                      "/a?%73ig=***",
		"/a?s%zzg=s":                      "/a?s%zzg=s",
		"/a?+token=s":                     "/a?+token=***",
		"/a?token+=s&%20token%00=s":       "/a?token+=***&%20token%00=***",
		"/a?token[]=s&token%5B0%5D=t":     "/a?token[]=***&token%5B0%5D=***",
		"/a?a[token]=s&a[b][password]=t":  "/a?a[token]=***&a[b][password]=***",
		"/a?user.password=s&f:password=t": "/a?user.password=***&f:password=***",
		"/a?accessToken=s&ACCESS-TOKEN=t&access.token=u&x_access_token=v": "/a?accessToken=***&ACCESS-TOKEN=***&access.token=***&x_access_token=***",
		"/a?tokens=s&tok=s&token_x=s&xtokenx=s":                           "/a?tokens=s&tok=s&token_x=s&xtokenx=s",
		"/a?page_token=s&nextPageToken=t&continuation-token=u":            "/a?page_token=s&nextPageToken=t&continuation-token=u",
		"/a?x=1&amp;token=s&amp;y=2":                                      "/a?x=1&amp;token=***&amp;y=2",

		// URLs inside of others.
		"/a?next=https%3A%2F%2Fh%2F%3Ftoken%3Ds":                  "/a?next=https%3A%2F%2Fh%2F%3Ftoken%3D***",
		"/a?next=https%3A%2F%2Fh%2F%3Ftoken%3Ds%26x%3D1&y=2":      "/a?next=https%3A%2F%2Fh%2F%3Ftoken%3D***%26x%3D1&y=2",
		"/a?next=https%3a//h/%3ftoken%3ds%2526t&y=2":              "/a?next=https%3a//h/%3ftoken%3d***&y=2",
		"/a?n=%2F%3Fn%3D%252F%253Ftoken%253Ds%2526x%253D1%26y%3D": "/a?n=%2F%3Fn%3D%252F%253Ftoken%253D***%2526x%253D1%26y%3D",
		"/a?n=%25252525253Ftoken%25252525253Ds":                   "/a?n=%25252525253Ftoken%25252525253D***",
		"/proxy/https%3A%2F%2Fu%3Ap%40h%2F%3Fsig%3Ds/x":           "/proxy/https%3A%2F%2F***%40h%2F%3Fsig%3D***",
		"/a?to=http://u:p@h/&mail=a@b":                            "/a?to=http://***@h/&mail=a@b",
		"/a?to=http%3A%2F%2Fu%3Ap%2526q%40h%2F&mail=a@b":          "/a?to=http%3A%2F%2F***%40h%2F&mail=a@b",
		"/a?to=http%3A//u%3Ap%26q%40h/&mail=a@b":                  "/a?to=http%3A//***%40h/&mail=a@b",
		"/a?to=//h&mail=a@b":                                      "/a?to=//h&mail=a@b",
		"/redirect?to=http://u:p@elsewhere":                       "/redirect?to=http://***@elsewhere",

		// Parameters of paths.
		"/a;jsessionid=S1?x=1":         "/a;jsessionid=***?x=1",
		"/a;v=1;jsessionid=S1/b;w=2":   "/a;v=1;jsessionid=***/b;w=2",
		"/a%3Bjsessionid=S1%2Fb?x=1":   "/a%3Bjsessionid=***%2Fb?x=1",
		"http://h/a;JSESSIONID=S1.n#x": "http://h/a;JSESSIONID=***#x",

		// Values that tell by themselves.
		"/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=x":               "/cb?code=***&state=x",
		"/cb?state=x&CODE=4%2F0AeanS0bQ1v9c8d7e6f":              "/cb?state=x&CODE=***",
		"/cb#%63ode=0123456789abcdef":                           "/cb#%63ode=***",
		"/a?code=404&code=DE&code=0123456789abcde":              "/a?code=404&code=DE&code=0123456789abcde",
		"/maps?key=AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY&q=x": "/maps?key=***&q=x",
		"/kv?key=customer/AIza/0123456789abcdef":                "/kv?key=customer/AIza/0123456789abcdef",
		"/socket.io/?EIO=4&sid=36Yib8-rSutGQYLfAAAD&t=1":        "/socket.io/?EIO=4&sid=***&t=1",
		"/t?ticket=ABC-123&sid=7":                               "/t?ticket=ABC-123&sid=7",
		"/a?x=" + jwt + "&y=1":                                  "/a?x=***&y=1",
		"/a?x=%3D" + jwt:                                        "/a?x=%3D***",
		"/verify/" + jwt + "/now":                               "/verify/***/now",
		"/eyJ/keyJa.b.c/eyJa.b":                                 "/eyJ/keyJa.b.c/eyJa.b",

		// Azure's, Google's, Amazon's.
		"/c/b?sv=2022-11-02&sr=b&sig=Zm9v%3D&se=2030":                                           "/c/b?sv=2022-11-02&sr=b&sig=***&se=2030",
		"/b/o?X-Goog-Credential=a%2Fb&X-Goog-Date=1&X-Goog-Signature=ab":                        "/b/o?X-Goog-Credential=***&X-Goog-Date=1&X-Goog-Signature=***",
		"/o?X-Amz-Credential=A%2F2030&X-Amz-Expires=60&X-Amz-Security-Token=t&AWSAccessKeyId=A": "/o?X-Amz-Credential=***&X-Amz-Expires=60&X-Amz-Security-Token=***&AWSAccessKeyId=***",

		// User information.
		"/a@b?c=d@e":                "/a@b?c=d@e",
		"http://shop/a@b":           "http://shop/a@b",
		"http://shop?a@b":           "http://shop?a@b",
		"http://u:p@shop/a@b":       "http://***@shop/a@b",
		"http://u:p@q@shop:80?x":    "http://***@shop:80?x",
		"http://u:p;token=x@h/":     "http://***@h/",
		"http://u:p&q\\r@h/":        "http://***@h/",
		"http://u@[2001:db8::1]/":   "http://***@[2001:db8::1]/",
		"//u:p@h/":                  "//***@h/",
		"\\\\u:p@h/":                "\\\\***@h/",
		"///u:p@h/":                 "///***@h/",
		"/@a//b@c":                  "/@a//***@c",
		"/npm//@babel/core":         "/npm//@babel/core",
		"http://***@h/?token=***&@": "http://***@h/?token=***&@",
	} {
		got, what := screen.maskURL(in, noAuthority)
		if got != want || (what != 0) != (in != want) {
			t.Errorf("%q became %q (%v), want %q", in, got, what, want)
		}
		if got, _ = screen.maskURL(in, bareAuthority); got != want {
			t.Errorf("%q, with an authority in front, became %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"*":                           "*",
		"shop:443":                    "shop:443",
		"u:p@shop:443":                "***@shop:443",
		"u:p/q@shop:443":              "***@shop:443",
		"u:p@shop:443?to=http://a@b":  "***@shop:443?to=http://***@b",
		"for=1;host=u:p@h;proto=http": "***@h;proto=http",
	} {
		if got, _ := screen.maskURL(in, bareAuthority); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if got, _ := screen.maskURL(in, noAuthority); strings.HasPrefix(got, masked) {
			t.Errorf("%q, without an authority in front, became %q", in, got)
		}
	}
}

// TestParametersByName: a name that is to be masked is masked whatever its value, and
// without the usual ones no value tells.
func TestParametersByName(t *testing.T) {
	const url = "/a?code=DE&code=0123456789abcdef&key=k&key=AIza&page_token=p"
	for want, names := range map[string][]string{
		"/a?code=***&code=***&key=***&key=***&page_token=***":           append(DefaultMaskQuery(), "code", "key", "pageToken"),
		"/a?code=DE&code=***&key=k&key=***&page_token=p":                DefaultMaskQuery(),
		"/a?code=DE&code=0123456789abcdef&key=***&key=***&page_token=p": {"key"},
		"/a?code=***&code=***&key=k&key=AIza&page_token=p":              {" C*", "*ode"},
		"/a?code=DE&code=0123456789abcdef&key=k&key=***&page_token=p":   append(DefaultMaskQuery(), "-Code"),
		"/a?code=DE&code=***&key=k&key=AIza&page_token=p":               append(DefaultMaskQuery(), "-key"),
		url: {},
	} {
		if got, _ := newScreen(0, []string{}, names).maskURL(url, bareAuthority); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}

// TestNothingIsMasked, if nothing is to be.
func TestNothingIsMasked(t *testing.T) {
	const url = "http://u:p@h/?token=t&x=" + jwt
	for _, tc := range []struct {
		fields, query []string
		want          string
	}{
		{[]string{}, []string{}, url},
		{[]string{}, []string{"token"}, "http://u:p@h/?token=***&x=" + jwt},
		{[]string{"Cookie"}, []string{}, "http://***@h/?token=t&x=" + jwt},
	} {
		if got, _ := newScreen(0, tc.fields, tc.query).maskURL(url, bareAuthority); got != tc.want {
			t.Errorf("%q, %q: %q, want %q", tc.fields, tc.query, got, tc.want)
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
	if n := strings.Count(got.String(), "planted"); n != 0 || stats.MaskedQueries != 5 {
		t.Errorf("it is there %d times, masked in %d: %v", n, stats.MaskedQueries, got)
	}
	if got.Request.Target != "/a?x=1&access_token=***" {
		t.Error(got.Request.Target)
	}
	got, stats = record(t, Config{Keep: NewKeep(0, nil, []string{})}, testConnection(), exchange())
	if n := strings.Count(got.String(), "planted"); n != 5 || stats.MaskedQueries != 0 {
		t.Errorf("it is there %d times: %v", n, got)
	}
}

// TestLinkFields: what proxies tell of the target has its credentials too, and so may any URL
// before its host.
func TestLinkFields(t *testing.T) {
	fields := func(value string) (hs []*capstanv1.Header) {
		for _, name := range []string{"referer", "X-Original-URL", "x-original-uri", "X-Rewrite-Url", "X-Forwarded-Uri", "x-envoy-original-path", "Destination"} {
			hs = append(hs, &capstanv1.Header{Name: name, Value: value})
		}
		return hs
	}
	for value, want := range map[string]string{
		"/a?x=1&token=planted":                   "/a?x=1&token=***",
		"https://u:planted@h/a?token=planted#@x": "https://***@h/a?token=***",
		"/@a://b@c":                              "/@a://***@c",
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
	got, _ := record(t, Config{Keep: NewKeep(0, []string{}, []string{})}, testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: fields(plain)}})
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
	got, _ = record(t, Config{Keep: NewKeep(0, []string{}, nil)}, testConnection(), handshake())
	if v := got.Request.Headers[0].Value; !strings.Contains(v, token) {
		t.Errorf("nothing is to be masked: %q", v)
	}
}

// FuzzMaskURL: what is masked stays so, nothing is masked twice, and a parameter has its
// value masked whatever is around it.
func FuzzMaskURL(f *testing.F) {
	for _, s := range []string{"/a?x=1&sig=2#sig=3", "?sig=&sig==", "/?%73ig=a;b", "#?&;sig=*** ", "?code=0123456789abcdef&key=AIza&code=1",
		"http://u:p@shop/a@b", "u:p@shop:443", "://@", "@", "a://b@c@d?e@f", "/%2F%252F@?n=%3Fsig%3D1%2526&", "/" + jwt, ";sig=/"} {
		f.Add(s, "&x=1")
	}
	screen := newScreen(0, DefaultMaskHeaders(), DefaultMaskQuery())
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, form := range []authorityForm{noAuthority, bareAuthority} {
			for _, s := range []string{before, before + after} {
				got, what := screen.maskURL(s, form)
				if again, more := screen.maskURL(got, form); more != 0 || again != got {
					t.Fatalf("%q became %q, then %q", s, got, again)
				}
				if (what != 0) == (got == s) {
					t.Fatalf("%q became %q, found %v", s, got, what)
				}
			}
			s := before + "?token=planted" + after
			if got, _ := screen.maskURL(s, form); strings.Count(got, "planted") > strings.Count(before+after, "planted") {
				t.Fatalf("%q became %q", s, got)
			}
		}
	})
}
