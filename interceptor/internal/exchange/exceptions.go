package exchange

import (
	"fmt"
	"slices"
	"strings"
)

// CheckMaskHeaders tells of a name behind - among those that [NewKeep] takes as
// maskHeaders that no other one stands for. It is most likely misspelt, and what was meant
// would stay masked.
func CheckMaskHeaders(names []string) error {
	masks, but := partMasks(names)
	m := newMaskSet(masks)
	return checkExceptions(masks, but, m.listsField, m.overlaps)
}

// CheckMaskQuery is CheckMaskHeaders for maskQuery.
func CheckMaskQuery(names []string) error {
	masks, but := partMasks(names)
	p := newParameterSet(masks)
	return checkExceptions(masks, but, func(name string) bool {
		listed, looks := p.exactly(foldParameter(name))
		return listed || looks != nil
	}, func(ending string) bool {
		ending = foldParameter(ending)
		return p.names.overlaps(ending) || slices.ContainsFunc(p.looks, func(l look) bool { return strings.HasSuffix(l.name, ending) })
	})
}

// checkExceptions refuses the first of but for which nothing is true: lists is asked about
// names, overlaps about endings.
func checkExceptions(masks, but []string, lists, overlaps func(string) bool) error {
	for _, n := range but {
		what, ask := n, lists
		if ending, ok := strings.CutPrefix(n, "*"); ok {
			what, ask = ending, overlaps
		}
		if !ask(what) {
			return fmt.Errorf("%q takes out what is not masked; masked are %s", notThat+n, strings.Join(maskNames(masks), ", "))
		}
	}
	return nil
}

// maskNames returns masks without what values look like.
func maskNames(masks []string) []string {
	var names []string
	for _, n := range masks {
		if n != maskJWT {
			name, _, _ := strings.Cut(n, "=")
			names = append(names, name)
		}
	}
	return names
}

// overlaps reports whether m has a name that ends so, or could have.
func (m *maskSet) overlaps(ending string) bool {
	ends := func(name string) bool {
		return len(name) >= len(ending) && sameName(ending, name[len(name)-len(ending):])
	}
	return m.endsListed(ending) || slices.ContainsFunc(m.endings, ends) ||
		slices.ContainsFunc(m.byLen[:], func(names []string) bool { return slices.ContainsFunc(names, ends) })
}
