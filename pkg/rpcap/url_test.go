package rpcap

import (
	"strings"
	"testing"
)

func TestCase141URLs(t *testing.T) {
	for in, want := range map[string]URL{
		"rpcap://h/eth0":               {Scheme: SchemeTCP, Host: "h", Port: 2002, Device: "eth0"},
		"rpcap://[::1]:2003/eth0":      {Scheme: SchemeTCP, Host: "::1", Port: 2003, Device: "eth0"},
		`rpcap://h:99/\Device\NPF_{X}`: {Scheme: SchemeTCP, Host: "h", Port: 99, Device: `\Device\NPF_{X}`},
		"rpcap://eth0":                 {Scheme: SchemeLocal, Device: "eth0"},
		"rpcaps://h/":                  {Scheme: SchemeTLS, Host: "h", Port: 2002},
	} {
		if got, err := ParseURL(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"rpcap://[::1/eth0":   "IP-literal in URL doesn't end with ]",
		"rpcap://[::1]x/eth0": "extra text after IP-literal in URL",
	} {
		if _, err := ParseURL(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want URL
		text string // of String, if it isn't in
	}{
		{"rpcap://h/eth0", URL{Scheme: SchemeTCP, Host: "h", Port: 2002, Device: "eth0"}, "rpcap://h:2002/eth0"},
		{"rpcap://[::1]:2003/eth0", URL{Scheme: SchemeTCP, Host: "::1", Port: 2003, Device: "eth0"}, ""},
		{"rpcap://eth0", URL{Scheme: SchemeLocal, Device: "eth0"}, ""},
		{"rpcaps://h/", URL{Scheme: SchemeTLS, Host: "h", Port: 2002}, "rpcaps://h:2002/"},

		{"rpcap://", URL{}, ""},
		{"rpcaps://eth0", URL{Device: "eth0"}, "rpcap://eth0"},
		{"rpcap://h:/eth0", URL{Scheme: SchemeTCP, Host: "h", Port: 2002, Device: "eth0"}, "rpcap://h:2002/eth0"},
		{"rpcap://h:http/eth0", URL{Scheme: SchemeTCP, Host: "h", Port: 80, Device: "eth0"}, "rpcap://h:80/eth0"},
		{"rpcap://192.0.2.1/any?dir=in&self=include", URL{Scheme: SchemeTCP, Host: "192.0.2.1", Port: 2002, Device: "any?dir=in&self=include"}, "rpcap://192.0.2.1:2002/any?dir=in&self=include"},
		{"rpcap://[192.0.2.1]/a", URL{Scheme: SchemeTCP, Host: "192.0.2.1", Port: 2002, Device: "a"}, "rpcap://192.0.2.1:2002/a"},
		{"rpcap://[fe80::1%eth0]/a", URL{Scheme: SchemeTCP, Host: "fe80::1%eth0", Port: 2002, Device: "a"}, "rpcap://[fe80::1%eth0]:2002/a"},
		{"rpcap://h/a/b c@d%41", URL{Scheme: SchemeTCP, Host: "h", Port: 2002, Device: "a/b c@d%41"}, "rpcap://h:2002/a/b c@d%41"},
		{"rpcap://bob@h/a", URL{Scheme: SchemeTCP, User: "bob", Host: "h", Port: 2002, Device: "a"}, "rpcap://bob@h:2002/a"},
		{"rpcap://bob:pass%40wd@h/a", URL{Scheme: SchemeTCP, User: "bob", Password: "pass@wd", Host: "h", Port: 2002, Device: "a"}, "rpcap://bob@h:2002/a"},
		{"rpcap://b%3Ao%40b:x@h/a", URL{Scheme: SchemeTCP, User: "b:o@b", Password: "x", Host: "h", Port: 2002, Device: "a"}, "rpcap://b%3Ao%40b@h:2002/a"},
		{"rpcap+unix://%2Frun%2Frpcapd.sock/eth0", URL{Scheme: SchemeUnix, SocketPath: "/run/rpcapd.sock", Device: "eth0"}, ""},
		{"rpcap+unix://%2Frun%2Fa%20b", URL{Scheme: SchemeUnix, SocketPath: "/run/a b"}, "rpcap+unix://%2Frun%2Fa%20b/"},
		{"rpcap+unix://@abstract/eth0", URL{Scheme: SchemeUnix, SocketPath: "@abstract", Device: "eth0"}, ""},
	} {
		got, err := ParseURL(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.in, got, err, tc.want)
		}
		text := tc.text
		if text == "" {
			text = tc.in
		}
		if got.String() != text {
			t.Errorf("%s: text %s, want %s", tc.in, got.String(), text)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "no scheme"},
		{"eth0", "no scheme"},
		{"eth0:1", "no scheme"},
		{"h/eth0", "no scheme"},
		{"RPCAP://h/eth0", `scheme "RPCAP" is none of`},
		{"http://h/eth0", `scheme "http" is none of`},
		{"rpcap:///eth0", "no host"},
		{"rpcap://:2002/eth0", "no host"},
		{"rpcap://[]/eth0", "no host"},
		{"rpcap://u@/eth0", "no host"},
		{"rpcap://::1/eth0", "no host"},
		{"rpcap://h:0/eth0", "port is neither"},
		{"rpcap://h:65536/eth0", "port is neither"},
		{"rpcap://h:-1/eth0", "port is neither"},
		{"rpcap://h:nosuchservice/eth0", "port is neither"},
		{"rpcap://[[x]/eth0", "bracket"},
		{"rpcap://a b/eth0", "space"},
		{"rpcap://%zz@h/eth0", "user: bad percent-encoding"},
		{"rpcap://u:%zz@h/eth0", "password: bad percent-encoding"},
		{"rpcap://u:a@b@h/eth0", "more than one @"},
		{"rpcap://u:p@h", "no slash"},
		{"rpcap+unix://relative/eth0", "not absolute"},
		{"rpcap+unix:///run/x.sock", "not absolute"},
		{"rpcap+unix://%2Fa%00/eth0", "NUL"},
		{"rpcap+unix://%2Fa%/eth0", "percent-encoding"},
		{"rpcap://h/" + strings.Repeat("x", 8<<10), "longer than"},
	} {
		got, err := ParseURL(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60s: %+v, %v, want an error with %q", tc.in, got, err, tc.want)
		}
	}
}

// CVE-2024-8006: libpcap's client took a listing of file:// without a folder for
// a null pointer. Here it is no source, with or without a folder.
func TestCVE_2024_8006_ListingOfFiles(t *testing.T) {
	for _, in := range []string{"file://", "file:///", "file:///tmp/"} {
		if u, err := ParseURL(in); err == nil || !strings.Contains(err.Error(), "none of rpcap") {
			t.Errorf("%s: %+v, %v", in, u, err)
		}
	}
}

func TestURLAddress(t *testing.T) {
	for in, want := range map[string]string{
		"rpcap://h/eth0":             "h:2002",
		"rpcaps://[::1]:3/":          "[::1]:3",
		"rpcap+unix://%2Fr%2Fx/eth0": "/r/x",
	} {
		u, err := ParseURL(in)
		if err != nil || u.Address() != want {
			t.Errorf("%s: %s, %v, want %s", in, u.Address(), err, want)
		}
	}
}

// A password must not reach a log through an error, wherever its delimiters
// make the parser look for it.
func TestParseURLErrorsHidePassword(t *testing.T) {
	for _, in := range []string{
		"rpcap://u:secret@h:x/eth0",
		"rpcap://u:pa@secret@h/eth0",
		"rpcap://u:pa@x:secret@h/eth0",
		"rpcap://u:pa/secret@h/eth0",
		"rpcap://u:secret/x@h/eth0",
		"rpcap://u:secret%zz@h/eth0",
		"rpcap://u:secret@h",
		"u:secret@h/eth0",
		"u:secret://x@h/eth0",
		"http://u:secret@h/eth0",
		"rpcap+unix://u:secret@%2Fx/eth0",
		"rpcap://:secret@[::1/eth0",
		"rpcap://u:secret@h/" + strings.Repeat("x", 9000),
	} {
		if u, err := ParseURL(in); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.60s: %v, error %v", in, u, err)
		}
	}
}

// FuzzParseURL holds that the text of a URL parses to the same URL, without
// the password, and that no error tells the password.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"rpcap://h/eth0", "rpcap://[::1]:2003/eth0", "rpcap://bob:pw@h:99/x?dir=in", "rpcap://eth0", "rpcap+unix://%2Frun%2Fx/any",
		"rpcaps://b%3Ao@[fe80::1%25e]/", "rpcap://[[x]/", "rpcap+unix://@a/b", "://", "rpcap://a%/",
	} {
		f.Add(s, "rpcap", "user", "h/eth0")
	}
	f.Add("", "rpcap+unix", "u@x", "[::1/")
	f.Add("", "a:b", "", "")
	f.Add("rpcap://"+strings.Repeat("(", 4000)+"@h/", "", "", "")
	f.Fuzz(func(t *testing.T, s, scheme, user, rest string) {
		u, err := ParseURL(s)
		if text := u.String(); err == nil && len(text) <= maxURL { // escaped, it may be longer
			again, err := ParseURL(text)
			u.Password = ""
			if err != nil || again != u {
				t.Fatalf("%q: %+v became %q, %+v, %v", s, u, text, again, err)
			}
		}
		const secret = "S3cretS3cret"
		if strings.Contains(scheme+user+rest, secret) {
			return
		}
		if _, err := ParseURL(scheme + "://" + user + ":" + secret + "@" + rest); err != nil && strings.Contains(err.Error(), secret) {
			t.Fatal(err)
		}
	})
}
