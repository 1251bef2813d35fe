package exchange

import (
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func TestUserInfoIsMasked(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		"*":                                 "*",
		"/a@b?c=d@e":                        "/a@b?c=d@e",
		"http://shop/a@b":                   "http://shop/a@b",
		"http://shop?a@b":                   "http://shop?a@b",
		"http://u:p@shop/a@b":               "http://***@shop/a@b",
		"http://u:p@q@shop:80?x":            "http://***@shop:80?x",
		"u:p@shop:443":                      "***@shop:443",
		"shop:443":                          "shop:443",
		"u:p@shop:443?to=http://a@b":        "***@shop:443?to=http://a@b",
		"http://u@[2001:db8::1]/":           "http://***@[2001:db8::1]/",
		"/redirect?to=http://u:p@elsewhere": "/redirect?to=http://u:p@elsewhere",
	} {
		mask := newMaskSet(DefaultMaskHeaders())
		q := &capstanv1.HttpRequest{Target: in}
		if mask.targetUserInfo(&q.Target); q.Target != want {
			t.Errorf("%q became %q, want %q", in, q.Target, want)
		}
		if strings.HasPrefix(in, "/") {
			continue
		}
		q = &capstanv1.HttpRequest{Headers: []*capstanv1.Header{{Name: "HOST", Value: in}, {Name: "From", Value: "a@b"}}}
		if count := mask.userInfo(q.Headers); q.Headers[0].Value != want || q.Headers[1].Value != "a@b" || (count == 1) != (in != want) {
			t.Errorf("Host %q became %q, want %q; %d masked", in, q.Headers[0].Value, want, count)
		}
	}
	q := &capstanv1.HttpRequest{Target: "u@h:1"}
	if newMaskSet(nil).targetUserInfo(&q.Target); q.Target != "u@h:1" {
		t.Error("masked, though nothing is to be")
	}
}

// FuzzUserInfo: nothing before the last @ of an authority is left, and the rest
// stays.
func FuzzUserInfo(f *testing.F) {
	for _, s := range []string{"http://u:p@shop/a@b", "u:p@shop:443", "://@", "@", "a://b@c@d?e@f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, found := maskUserInfo(s)
		if again, _ := maskUserInfo(got); again != got {
			t.Errorf("%q became %q, then %q", s, got, again)
		}
		before, rest, _ := strings.Cut(got, masked+"@")
		if found && (!strings.HasPrefix(s, before) || !strings.HasSuffix(s, "@"+rest)) || !found && got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}
