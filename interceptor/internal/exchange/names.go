package exchange

import (
	"slices"
	"strings"
)

// maskNameLimit bounds the names that are listed by their length; longer ones are kept
// in one list.
const maskNameLimit = 48

// maskSet answers whether a name is to be masked. Names are found by length
// first, since that settles nearly every field without comparing bytes.
type maskSet struct {
	byLen [maskNameLimit + 1][]string
	// ends have a bit for the first and the last letter of each of these, which
	// settles nearly all others.
	ends    [maskNameLimit + 1]uint64
	endings []string // of names
	lasts   uint64   // a bit for the last two letters of each of these, and of binarySuffix
	empty   bool     // nothing is to be masked
	but     *maskSet // has the names that are not in it after all; may be nil
}

// notThat begins a name that is not to be masked, whatever other one stands for it.
const notThat = "-"

// newMaskSet returns the set of names, among which one that begins with * stands for all
// that end so, and one behind notThat for none.
func newMaskSet(names []string) *maskSet {
	m := &maskSet{empty: len(names) == 0}
	masks, but := partMasks(names)
	for _, n := range masks {
		if ending, ok := strings.CutPrefix(n, "*"); ok {
			m.endings = append(m.endings, ending)
			m.lasts |= lastBit(ending)
		} else if n != "" {
			at := min(len(n), maskNameLimit)
			m.byLen[at] = append(m.byLen[at], n)
			m.hint(n)
		}
	}
	if !m.empty {
		m.lasts |= lastBit(binarySuffix)
	}
	if len(but) > 0 {
		m.but = newMaskSet(but)
	}
	return m
}

// partMasks returns the names to mask, and those behind notThat, without it.
func partMasks(names []string) (masks, but []string) {
	for _, n := range names {
		n = strings.TrimSpace(n)
		if not, ok := strings.CutPrefix(n, notThat); ok {
			but = append(but, not)
		} else {
			masks = append(masks, n)
		}
	}
	return masks, but
}

// hint makes mayHave true of a name.
func (m *maskSet) hint(name string) { m.ends[min(len(name), maskNameLimit)] |= endsBit(name) }

// lastBit returns a bit for the last two letters of a name that is the same in any
// spelling; all bits if there are fewer.
func lastBit(name string) uint64 {
	if len(name) < 2 {
		return 1<<64 - 1
	}
	return 1 << ((name[len(name)-2]&31*7 + name[len(name)-1]&31) & 63)
}

// endsBit is lastBit for the first and the last letter of a name.
func endsBit(name string) uint64 { return 1 << ((name[0]&31*7 + name[len(name)-1]&31) & 63) }

// mayHave tells of nearly all names that they are not in m.
func (m *maskSet) mayHave(name string) bool {
	return name != "" && m.ends[min(len(name), maskNameLimit)]&endsBit(name)|m.lasts&lastBit(name) != 0
}

// lists reports whether m has that name, in any spelling.
func (m *maskSet) lists(name string) bool {
	return m.mayHave(name) && (m.names(name) || m.endsListed(name)) && !m.excepts(name)
}

// excepts reports whether that name is not to be masked.
func (m *maskSet) excepts(name string) bool { return m.but != nil && m.but.lists(name) }

// names reports whether m has that very name.
func (m *maskSet) names(name string) bool {
	for _, n := range m.byLen[min(len(name), maskNameLimit)] {
		if sameName(n, name) {
			return true
		}
	}
	return false
}

// endsListed reports whether m has an ending of that name, which isn't empty.
func (m *maskSet) endsListed(name string) bool {
	for _, end := range m.endings {
		if len(name) >= len(end) && sameName(end, name[len(name)-len(end):]) {
			return true
		}
	}
	return false
}

// sameName compares names of fields as servers do that hand them on as variables: to
// those - and _ are the same.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && foldName[a[i]] != foldName[b[i]] {
			return false
		}
	}
	return true
}

// foldName is what a byte of a name counts as; read only.
var foldName = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] |= 0x20
		}
	}
	t['_'] = '-'
	return t
}()

// listsField is lists for a field, of gRPC too, whose metadata that is not text has a
// name of its own.
func (m *maskSet) listsField(name string) bool {
	if !m.mayHave(name) || m.excepts(name) {
		return false
	}
	if m.names(name) || m.endsListed(name) {
		return true
	}
	n := len(name) - len(binarySuffix)
	return n > 0 && sameName(name[n:], binarySuffix) && m.lists(name[:n])
}

// binarySuffix ends the names of metadata of gRPC that is sent in base64.
const binarySuffix = "-bin"

// listsPart reports whether m has what somebody may read of a name that is none: what is
// between characters that no name may have.
func (m *maskSet) listsPart(name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r < '!' || r >= 0x7f || r == ':' }), m.listsField)
}
