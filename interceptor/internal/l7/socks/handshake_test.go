package socks

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
)

// Messages of version 5.
const (
	offersNone     = "\x05\x01\x00"
	offersPassword = "\x05\x02\x00\x02"
	choosesNone    = "\x05\x00"
	asksPassword   = "\x05\x02"
	login          = "\x01\x04user\x06secret"
	admits         = "\x01\x00"
	asksName       = "\x05\x01\x00\x03\x0dinner.example\x01\xbb"
	asksIPv4       = "\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"
	asksIPv6       = "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x50"
	asksMapped     = "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07\x00\x50"
	grants         = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	grantsIPv6     = "\x05\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x50"
	grantsName     = "\x05\x00\x00\x03\x03any\x00\x50"
	grantsNoName   = "\x05\x00\x00\x03\x00\x00\x50"
	refuses        = "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
)

// Messages of version 4.
const (
	asks4    = "\x04\x01\x00\x50\xc0\x00\x02\x07root\x00"
	asks4A   = "\x04\x01\x01\xbb\x00\x00\x00\x01\x00inner.example\x00"
	grants4  = "\x00\x5a\x00\x00\x00\x00\x00\x00"
	refuses4 = "\x00\x5b\x00\x50\xc0\x00\x02\x07"
)

// play has both ends say pieces: "C:" the client, "S:" the proxy, "c:"/"s:" a gap of as many
// bytes.
func play(late bool, pieces ...string) *Handshake {
	h := New(late)
	var client, server int64
	for _, p := range pieces {
		n := int64(len(p) - 2)
		switch p[0] {
		case 'C':
			h.Client([]byte(p[2:]), client)
		case 'S':
			h.Server([]byte(p[2:]), server)
		case 'c':
			h.ClientGap(client, n)
		case 's':
			h.ServerGap(server, n)
		}
		if strings.EqualFold(p[:1], "c") {
			client += n
		} else {
			server += n
		}
	}
	return h
}

// told is what h tells in a few words.
func told(h *Handshake) string {
	v := [...]string{"pending", "none", "made", "ended"}[h.Verdict()]
	if v == "none" {
		return v
	}
	s := fmt.Sprintf("%s %d %d %s", v, h.Version(), h.Command(), h.Target())
	if v == "made" {
		client, server := h.Starts()
		s += fmt.Sprintf(" %d/%d", client, server)
	}
	if code, ok := h.Reply(); ok {
		s += fmt.Sprintf(" %d", code)
	}
	return s
}

func TestHandshake(t *testing.T) {
	greeted := []string{"C:" + offersNone, "S:" + choosesNone}
	gss := []string{"C:\x05\x02\x00\x01", "S:\x05\x01", "C:\x01\x01\x00\x03tok", "S:\x01\x01\x00\x03tok"}
	for _, tt := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"name", append(greeted, "C:"+asksName, "S:"+grants), "made 5 1 inner.example:443 23/12 0"},
		{"IPv4", append(greeted, "C:"+asksIPv4, "S:"+grants), "made 5 1 192.0.2.7:80 13/12 0"},
		{"IPv6", append(greeted, "C:"+asksIPv6, "S:"+grantsIPv6), "made 5 1 [2001:db8::7]:80 25/24 0"},
		{"IPv4 in the form of IPv6", append(greeted, "C:"+asksMapped, "S:"+grants), "made 5 1 192.0.2.7:80 25/12 0"},
		{"bound to a name", append(greeted, "C:"+asksIPv4, "S:"+grantsName), "made 5 1 192.0.2.7:80 13/12 0"},
		{"bound to no name", append(greeted, "C:"+asksIPv4, "S:"+grantsNoName), "made 5 1 192.0.2.7:80 13/9 0"},
		{"password", []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + login, "S:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"empty password", []string{"C:" + offersPassword, "S:" + asksPassword, "C:\x01\x00\x00", "S:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 17/14 0"},
		{"no password, though offered", []string{"C:" + offersPassword, "S:" + choosesNone, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 14/12 0"},
		{"all at once", []string{"C:" + offersNone + asksIPv4 + "GET", "S:" + choosesNone + grants + "HTTP"}, "made 5 1 192.0.2.7:80 13/12 0"},
		{"password at once", []string{"C:" + offersPassword + login + asksIPv4, "S:" + asksPassword + admits + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"before the reply", append(greeted, "C:"+asksIPv4+"GET"), "pending 5 1 192.0.2.7:80"},
		{"not answered", []string{"C:" + offersNone}, "pending 5 0 "},
		{"half a greeting", []string{"C:\x05"}, "pending 0 0 "},
		{"no method", []string{"C:" + offersNone, "S:\x05\xff"}, "ended 5 0 "},
		{"wrong password", []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + login, "S:\x01\x01"}, "ended 5 0 "},
		{"refused", append(greeted, "C:"+asksIPv4, "S:"+refuses), "ended 5 1 192.0.2.7:80 5"},
		{"refused in short", append(greeted, "C:"+asksIPv4, "S:"+refuses[:2]), "ended 5 1 192.0.2.7:80 5"},
		{"GSS-API", gss, "ended 5 0 "},
		{"BIND", append(greeted, "C:\x05\x02"+asksIPv4[2:], "S:"+grants), "ended 5 2 192.0.2.7:80 0"},
		{"UDP ASSOCIATE", append(greeted, "C:\x05\x03"+asksIPv4[2:], "S:"+grants), "ended 5 3 192.0.2.7:80 0"},
		{"4", []string{"C:" + asks4, "S:" + grants4}, "made 4 1 192.0.2.7:80 13/8 90"},
		{"4A", []string{"C:" + asks4A, "S:" + grants4}, "made 4 1 inner.example:443 23/8 90"},
		{"4A, more behind", []string{"C:" + asks4A + "GET", "S:" + grants4 + "HTTP"}, "made 4 1 inner.example:443 23/8 90"},
		{"4, refused", []string{"C:" + asks4, "S:" + refuses4}, "ended 4 1 192.0.2.7:80 91"},
		{"4, BIND", []string{"C:\x04\x02" + asks4[2:], "S:" + grants4}, "ended 4 2 192.0.2.7:80 90"},
		{"4, not answered", []string{"C:" + asks4}, "pending 4 1 192.0.2.7:80"},

		{"another answer", []string{"C:" + offersNone, "S:HTTP/1.1 400 No\r\n"}, "none"},
		{"a method that was not offered", []string{"C:" + offersNone, "S:" + asksPassword}, "none"},
		{"no methods", []string{"C:\x05\x00"}, "none"},
		{"no such command", append(greeted, "C:\x05\x04\x00"), "none"},
		{"reserved byte", append(greeted, "C:\x05\x01\x01"), "none"},
		{"no such address", append(greeted, "C:\x05\x01\x00\x02"), "none"},
		{"no name", append(greeted, "C:\x05\x01\x00\x03\x00\x00\x50"), "none"},
		{"no name of a host", append(greeted, "C:\x05\x01\x00\x03\x03a@b\x00\x50"), "none"},
		{"not UTF-8", append(greeted, "C:\x05\x01\x00\x03\x03a\xffb\x00\x50"), "none"},
		{"a password not asked for", append(greeted, "C:"+login), "none"},
		{"a status of nothing", append(greeted, "C:"+asksIPv4, "S:"+admits), "none"},
		{"no status", []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + login + asksIPv4, "S:" + grants}, "none"},
		{"4, another answer", []string{"C:" + asks4, "S:" + grants}, "none"},
		{"4, no such code", []string{"C:" + asks4, "S:\x00\x59"}, "none"},
		{"4, UDP", []string{"C:\x04\x03"}, "none"},
		{"4, an endless user", []string{"C:" + asks4[:8] + strings.Repeat("u", 256)}, "none"},
		{"4A, an endless name", []string{"C:" + asks4A[:9] + strings.Repeat("n", 256)}, "none"},
		{"4A, no name", []string{"C:" + asks4A[:9] + "\x00"}, "none"},

		{"greeting cut off", []string{"C:\x05", "c:\x01\x00", "S:" + choosesNone, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 13/12 0"},
		{"choice lost", []string{"C:" + offersNone, "s:" + choosesNone, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 13/12 0"},
		{"request lost", append(greeted, "c:"+asksIPv4, "S:"+grants, "C:GET"), "made 5 0  3/12 0"},
		{"request lost, nothing yet", append(greeted, "c:"+asksIPv4, "S:"+grants), "pending 5 0  0"},
		{"reply lost", append(greeted, "C:"+asksIPv4, "s:"+grants), "made 5 1 192.0.2.7:80 13/2"},
		{"choice and reply lost", []string{"C:" + offersNone, "s:" + choosesNone, "C:" + asksIPv4, "s:" + grants}, "made 5 1 192.0.2.7:80 13/0"},
		{"request and reply lost", append(greeted, "c:"+asksIPv4, "s:"+grants, "C:GET"), "made 5 0  3/2"},
		{"password lost", []string{"C:" + offersPassword, "S:" + asksPassword, "c:" + login, "S:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"status lost", []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + login, "s:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"choice and status lost", []string{"C:" + offersPassword, "s:" + asksPassword, "C:" + login, "s:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"end of the reply lost", append(greeted, "C:"+asksIPv4, "S:"+grants[:5], "s:"+grants[5:]), "made 5 1 192.0.2.7:80 13/7"},
		{"4, reply lost", []string{"C:" + asks4, "s:" + grants4, "S:HTTP"}, "made 4 1 192.0.2.7:80 13/0"},
		{"all lost but the greeting", []string{"C:" + offersNone, "s:" + choosesNone + grants, "c:" + asksIPv4, "C:GET"}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(play(false, tt.pieces...)); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// Where the beginning may be missing, later messages are understood, too.
func TestLateHandshake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"whole", []string{"C:" + offersNone, "S:" + choosesNone, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 13/12 0"},
		{"whole, with a password", []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + login, "S:" + admits, "C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 27/14 0"},
		{"whole, at once", []string{"C:" + offersNone + asksIPv4, "S:" + choosesNone, "S:" + grants}, "made 5 1 192.0.2.7:80 13/12 0"},
		{"request", []string{"C:" + asksIPv4, "S:" + grants}, "made 5 1 192.0.2.7:80 10/10 0"},
		{"request, name", []string{"C:" + asksName, "S:" + grantsIPv6}, "made 5 1 inner.example:443 20/22 0"},
		{"request, with the choice", []string{"C:" + asksIPv4, "S:" + choosesNone + grants}, "made 5 1 192.0.2.7:80 10/12 0"},
		{"request, with the status", []string{"C:" + asksIPv4, "S:" + admits + grants}, "made 5 1 192.0.2.7:80 10/12 0"},
		{"request, refused", []string{"C:" + asksIPv4, "S:" + refuses}, "ended 5 1 192.0.2.7:80 5"},
		{"from the other end", []string{"C:" + choosesNone}, "none"},
		{"from the other end, the reply", []string{"C:" + grants}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(play(true, tt.pieces...)); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// split cuts what one end says into segments.
func split(r *rand.Rand, end, s string) (pieces []string) {
	for s != "" {
		n := 1 + r.IntN(len(s))
		pieces, s = append(pieces, end+s[:n]), s[n:]
	}
	return pieces
}

// FuzzHandshake: what is told does not depend on how what is said is cut into segments; what
// is made or ended stays so whatever follows, and what is none stays none; and a tunnel
// begins behind messages that say what is told.
func FuzzHandshake(f *testing.F) {
	f.Add(offersNone+asksName, choosesNone+grants, false, uint64(1))
	f.Add(offersPassword+login+asksIPv6+"GET", asksPassword+admits+grantsIPv6+"HTTP", false, uint64(2))
	f.Add(offersNone+asksIPv4, choosesNone+refuses, false, uint64(3))
	f.Add(asks4, grants4, false, uint64(4))
	f.Add(asks4A+"GET", grants4, true, uint64(5))
	f.Add("\x05\x02\x00\x01\x01\x01\x00\x03tok", "\x05\x01\x01\x01\x00\x03tok", false, uint64(6))
	f.Fuzz(func(t *testing.T, client, server string, late bool, seed uint64) {
		if client == "" || len(client) > 4096 || len(server) > 4096 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		// Whoever waits for nobody says all that he says first.
		whole := play(late, "C:"+client, "S:"+server)
		pieces := slices.Concat(split(r, "C:", client), split(r, "S:", server))
		// A handshake whose start may be missing is told by more than the first bytes.
		if got, want := told(play(late, pieces...)), told(whole); got != want && !late {
			t.Fatalf("in segments %q, at once %q", got, want)
		}
		if v := whole.Verdict(); v == Made {
			verifyMade(t, whole, client, server)
			if got, want := told(play(late, "C:"+client+"more", "S:"+server+"more")), told(whole); got != want {
				t.Fatalf("followed by more %q, alone %q", got, want)
			}
		}
	})
}

// verifyMade writes the last messages anew, as the specifications have them.
func verifyMade(t *testing.T, h *Handshake, client, server string) {
	t.Helper()
	c, s := h.Starts()
	if int(c) > len(client) || int(s) > len(server) {
		t.Fatalf("begins at %d/%d of %d/%d", c, s, len(client), len(server))
	}
	code, _ := h.Reply()
	said, reply := client[:c], server[:s]
	host, port, err := net.SplitHostPort(h.Target())
	if err != nil {
		t.Fatal(err)
	}
	switch h.Version() {
	case 4:
		named := strings.HasPrefix(said[4:], "\x00\x00\x00") && said[7] != 0
		if code != 90 || !strings.HasPrefix(said, "\x04\x01") || named != strings.HasSuffix(said, "\x00"+host+"\x00") || s != 8 {
			t.Fatalf("%s of %q, %q", told(h), said, reply)
		}
	case 5:
		if code != 0 || fmt.Sprint(int(said[c-2])<<8|int(said[c-1])) != port || !strings.Contains(said, "\x05\x01\x00") || !strings.Contains(reply, "\x05\x00\x00") {
			t.Fatalf("%s of %q, %q", told(h), said, reply)
		}
	default:
		t.Fatal(told(h))
	}
}
