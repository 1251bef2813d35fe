package siblings

import (
	"slices"
	"strings"
	"testing"
)

// tryNotes does what the chart's notes tell an operator to, in the pods of the
// workloads that they name. The verbs are those of all commands in them.
func (p *podman) tryNotes(t *testing.T, notes string, pods map[string]string, verbs ...string) {
	t.Helper()
	var tried []string
	for line := range strings.Lines(notes) {
		words := strings.Fields(strings.ReplaceAll(line, "'", ""))
		if len(words) < 5 || words[0] != "kubectl" || words[1] != "-n" {
			continue
		}
		after := func(word string) int { return slices.Index(words, word) + 1 }
		container := "relay" // which is alone in its pod
		if i := after("-c"); i > 0 {
			container = words[i]
		}
		verb := words[3]
		tried = append(tried, verb)
		switch verb {
		case "logs":
			pod, begin := pods[words[after("-f")]], words[after("grep")]
			if log := p.logs(pod, container); !strings.Contains("\n"+log, "\n"+strings.TrimPrefix(begin, "^")) {
				t.Errorf("%s: nothing is found in\n%s", line, log)
			}
		case "exec":
			if out, err := p.run(false, "podman", append([]string{"exec", pods[words[4]] + "-" + container}, words[after("--"):]...)...); err != nil || out == "" {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		default:
			t.Errorf("how is this tried? %s", line)
		}
	}
	if !slices.Equal(tried, verbs) {
		t.Errorf("tried %v of\n%s", tried, notes)
	}
}
