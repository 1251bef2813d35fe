package config

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/netns/netnstest"
)

const manual = "../../../docs/rpcapd.8"

var (
	manualItem   = regexp.MustCompile(`(?m)^\.It (Fl .*)$`)
	manualOption = regexp.MustCompile(`Fl (\\-)?([a-zA-Z0-9-]+)( Ar)?`)
)

// The manual page has every option, each with an argument if it takes one, and
// no other.
func TestManualIsComplete(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, item := range manualItem.FindAllStringSubmatch(string(text), -1) {
		for _, o := range manualOption.FindAllStringSubmatch(item[1], -1) {
			name := "-" + o[2]
			if o[1] != "" {
				name = "-" + name
			}
			got = append(got, name+o[3])
		}
	}
	for _, o := range options {
		arg := ""
		if o.arg != "" {
			arg = " Ar"
		}
		if o.short != 0 {
			want = append(want, "-"+string(o.short)+arg)
		}
		if o.long != "" {
			want = append(want, "--"+o.long+arg)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the manual has\n%v\nthe program\n%v", got, want)
	}
}

// The manual page and the usage text have the same device parameters.
func TestManualHasDeviceParameters(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, devices, _ := strings.Cut(Usage, "\nDEVICES")
	names := func(text, pattern string) (names []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		return names
	}
	got := names(string(text), `(?m)^\.It Cm ([a-z-]+) Ns = `)
	if want := names(devices, `(?m)^  ([a-z-]+)=`); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the manual has\n%v\nthe usage text\n%v", got, want)
	}
}

func TestManualIsClean(t *testing.T) {
	netnstest.RequireProgram(t, "mandoc")
	out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", manual).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("%v\n%s", err, out)
	}
}
