package strictyaml

import (
	"fmt"
	"strings"
)

// maxTypos is how many letters may be wrong for a hint.
const maxTypos = 2

// Hint is the end of a sentence about a word that isn't known: it names the known
// word that is nearest, or else all of them.
func Hint(word string, known []string) string {
	best, distance := "", maxTypos+1
	for _, k := range known {
		if d := editDistance(word, k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; there are: " + strings.Join(known, ", ")
}

// editDistance is Levenshtein's, in bytes; words that are far longer than any key
// are far.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
