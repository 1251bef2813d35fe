package pcapfilter

import (
	"errors"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// linkTypes are the link types that expressions compile for.
var linkTypes = []capture.LinkType{
	capture.LinkTypeEthernet, capture.LinkTypeLinuxSLL, capture.LinkTypeLinuxSLL2, capture.LinkTypeRaw,
	capture.LinkTypeNull, capture.LinkTypeLoop, capture.LinkTypeIPv4, capture.LinkTypeIPv6,
	capture.LinkTypePPP, capture.LinkTypePPPSerial, capture.LinkTypePPPEther,
}

// compile compiles for the tests, which run the programs by sockfilter.
func compile(t testing.TB, linkType capture.LinkType, expression string) (*sockfilter.Program, error) {
	t.Helper()
	program, err := Compile(linkType, snapLen, expression)
	if err != nil {
		return nil, err
	}
	valid, err := sockfilter.Compile(program)
	if err != nil {
		t.Fatalf("%s: %q compiles to no valid program: %v\n%v", linkType, expression, err, program)
	}
	return valid, nil
}

// TestJudge holds that our programs decide as those of tcpdump's compiler do,
// and are hardly longer. With a frame too short for a load, tcpdump's program
// decides by the order of its loads, which its optimiser changes; any of its
// verdicts with and without optimisation and on the whole frame is right.
func TestJudge(t *testing.T) {
	expressions := append(readExpressions(t), combinations(100)...)
	for i, linkType := range linkTypes {
		t.Run(linkType.String(), func(t *testing.T) {
			t.Parallel()
			c := trial{
				T: t, judge: newJudge(t, linkType), linkType: linkType,
				frames: append(newFrameMaker(1).frames(linkType, 2000), capturedFrames(t, linkType)...),
			}
			var wait sync.WaitGroup
			todo := make(chan string)
			for range 4 {
				wait.Go(func() {
					for e := range todo {
						c.compare(e)
					}
				})
			}
			for j, e := range expressions {
				// All of them on Ethernet, on others a part.
				all := linkType == capture.LinkTypeEthernet && !testing.Short()
				if (all || (i+j)%8 == 0) && !deviates(linkType, e) {
					todo <- e
				}
			}
			close(todo)
			wait.Wait()
			ours, theirs := c.ours.Load(), c.theirs.Load()
			t.Logf("%d frames; %d instructions, tcpdump's programs have %d", len(c.frames), ours, theirs)
			most := theirs * 115 / 100
			if linkType == capture.LinkTypeNull {
				most = theirs * 3 / 2 // we know both byte orders
			}
			if ours > most {
				t.Errorf("programs of %d instructions, tcpdump's have %d", ours, theirs)
			}
		})
	}
}

// deviates reports whether our programs for a link type differ from tcpdump's
// on purpose. TestDeviations tests those.
func deviates(linkType capture.LinkType, expression string) bool {
	has := func(words string) bool { return regexp.MustCompile(`\b(` + words + `)\b`).MatchString(expression) }
	switch linkType {
	case capture.LinkTypeLinuxSLL:
		return has("vlan|mpls|esis|isis|clnp|iso proto|l1|l2|iih|lsp|snp|csnp|psnp")
	case capture.LinkTypePPPSerial, capture.LinkTypePPPEther:
		return has("mpls")
	case capture.LinkTypeLinuxSLL2:
		return has("vlan|mpls|esis|isis|clnp|iso|l1|l2|iih|lsp|snp|csnp|psnp|stp|ipx|netbeui|atalk|aarp|ether proto (0x42|0xaa|6)")
	}
	return false
}

// trial compares our compiler with the judge on frames of one link type.
type trial struct {
	*testing.T
	judge    *judge
	linkType capture.LinkType
	frames   []frame

	ours, theirs atomic.Int64 // instructions in all
}

func (c *trial) compare(expression string) {
	ours, err := compile(c, c.linkType, expression)
	optimised, judgeErr := c.judge.compile(expression, true)
	switch {
	case judgeErr != nil && !errors.Is(judgeErr, errRefused):
		c.Errorf("%q: %v", expression, judgeErr)
	case judgeErr != nil && err == nil:
		c.Errorf("%q compiles, which tcpdump refuses: %v", expression, judgeErr)
	case judgeErr == nil && err != nil:
		c.Errorf("%q: %v", expression, err)
	case judgeErr == nil:
		c.ours.Add(int64(ours.Len()))
		c.theirs.Add(int64(optimised.Len()))
		c.verdicts(expression, ours, optimised)
	}
}

func (c *trial) verdicts(expression string, ours, optimised *sockfilter.Program) {
	var plain *sockfilter.Program
	for _, f := range c.frames {
		got, want := ours.Run(f.data, f.wireLen), optimised.Run(f.data, f.wireLen)
		if got == want {
			continue
		}
		if plain == nil {
			var err error
			if plain, err = c.judge.compile(expression, false); err != nil {
				c.Errorf("%q: %v", expression, err)
				return
			}
		}
		if got != plain.Run(f.data, f.wireLen) && got != plain.Run(f.whole, f.wireLen) {
			c.Errorf("%q: verdict %d, tcpdump's %d on %d bytes of %d: %x", expression, got, want, len(f.data), f.wireLen, f.data)
			return
		}
	}
}
