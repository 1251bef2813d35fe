package rules

import (
	"path"
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func exchange(authority, target, method string, status uint32) *capstanv1.Exchange {
	return &capstanv1.Exchange{
		Source: "rpcap://node:2002/eth0", Server: &capstanv1.Endpoint{Address: "10.0.0.9", Port: 80},
		Request:  &capstanv1.HttpRequest{Authority: authority, Target: target, Method: method},
		Response: &capstanv1.HttpResponse{Status: status},
	}
}

func TestFirstRuleThatMatchesDecides(t *testing.T) {
	list := []Rule{
		{Deny: &Match{Path: []string{"/healthz", "/ready*"}}},
		{Allow: &Match{Host: []string{"*.Example.com"}, Method: []string{"GET", "POST"}}},
		{Allow: &Match{Status: []string{"5xx", "404"}, Interface: []string{"eth?"}}},
		{Deny: &Match{}},
	}
	for _, c := range []struct {
		name string
		x    *capstanv1.Exchange
		want bool
	}{
		{"denied path", exchange("a.example.com", "/healthz", "GET", 200), false},
		{"denied path, with query", exchange("a.example.com", "/readyz?x=/y", "GET", 200), false},
		{"denied path, absolute target", exchange("", "http://a.example.com/healthz", "GET", 500), false},
		{"allowed host", exchange("A.example.com:8080", "/x", "GET", 200), true},
		{"host alone is too little", exchange("a.example.com", "/x", "PUT", 200), false},
		{"status class", exchange("other", "/x", "PUT", 503), true},
		{"status", exchange("other", "/x", "PUT", 404), true},
		{"neither", exchange("other", "/x", "PUT", 403), false},
		{"no request: no path to deny", &capstanv1.Exchange{Source: "rpcap://n/eth1", Response: &capstanv1.HttpResponse{Status: 500}}, true},
		{"another interface", &capstanv1.Exchange{Source: "rpcap://n/wlan0", Response: &capstanv1.HttpResponse{Status: 500}}, false},
	} {
		p, err := New(list, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Apply(c.x); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	p, _ := New(nil, nil)
	if allowed, _ := p.Apply(exchange("", "", "", 0)); !allowed {
		t.Error("no rule denies")
	}
}

func TestBodiesOfOtherTypesAreLeftOut(t *testing.T) {
	p, err := New(nil, []string{"application/JSON", "text/*"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, keeps := range map[string]bool{
		"application/json": true, "Application/Json; charset=utf-8": true, "text/html": true,
		"image/png": false, "": false, "application/jsonx": false,
	} {
		x := exchange("h", "/", "GET", 200)
		x.Response.Body = &capstanv1.Body{Size: 3, Content: []byte("abc")}
		if kind != "" {
			x.Response.Headers = []*capstanv1.Header{{Name: "content-type", Value: kind}}
		}
		_, omitted := p.Apply(x)
		if b := x.Response.Body; (len(b.Content) == 3) != keeps || b.Truncated == keeps || b.Size != 3 || (omitted == 0) != keeps {
			t.Errorf("%q: %v", kind, b)
		}
	}
}

func TestRulesThatSayNothingSensible(t *testing.T) {
	for _, r := range []Rule{
		{}, {Allow: &Match{}, Deny: &Match{}},
		{Deny: &Match{Status: []string{"x"}}}, {Deny: &Match{Status: []string{"5x"}}}, {Deny: &Match{Status: []string{"500-400"}}},
		{Deny: &Match{Status: []string{"99"}}}, {Deny: &Match{Status: []string{"-"}}}, {Deny: &Match{Status: []string{"xx"}}},
	} {
		if _, err := New([]Rule{r}, nil); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// FuzzWildcard holds wildcard to path.Match, which knows the same * and ? in
// texts without slashes and other special characters.
func FuzzWildcard(f *testing.F) {
	f.Add("a*b?c", "aXbYc")
	f.Add("*", "")
	f.Add("**?", "x")
	f.Add("a*a*a", "aaaa")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		ascii := func(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) }
		if strings.ContainsAny(pattern+text, `/[\`) || !ascii(pattern+text) || len(pattern)+len(text) > 200 {
			t.Skip()
		}
		want, err := path.Match(pattern, text)
		if err != nil {
			t.Skip()
		}
		if got := wildcard(pattern, text); got != want {
			t.Errorf("%q %q: %v, want %v", pattern, text, got, want)
		}
	})
}
