package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// judgement is what an independent program, tshark, tells of a capture file.
type judgement struct {
	Pairs []struct {
		Method, URI string
		Status      *int
		ReqBody     uint64 `json:"req_body"`
		RespBody    uint64 `json:"resp_body"`
	} `json:"http1_pairs"`
	Counts struct{ Responses int }            `json:"http1_counts"`
	Alt    map[string]struct{ Responses int } `json:"alt_counts"` // with other options, which matter where bytes are missing
}

func judged(t *testing.T, dir string, row indexed) (j judgement) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, row.expected))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// responses returns the most responses that the judge finds in any way.
func (j *judgement) responses() int {
	n := j.Counts.Responses
	for _, alt := range j.Alt {
		n = max(n, alt.Responses)
	}
	return n
}

// exchanges returns what the judge tells, one line each, with how often.
func (j *judgement) exchanges() map[string]int {
	lines := make(map[string]int)
	for _, p := range j.Pairs {
		switch {
		case p.Method == "" && p.Status != nil:
			lines[fmt.Sprintf("– → %d (%d B)", *p.Status, p.RespBody)]++
		case p.Status == nil:
			lines[fmt.Sprintf("%s %s (%d B) → –", p.Method, p.URI, p.ReqBody)]++
		default:
			lines[fmt.Sprintf("%s %s (%d B) → %d (%d B)", p.Method, p.URI, p.ReqBody, *p.Status, p.RespBody)]++
		}
	}
	return lines
}

// lineOf is a record as judgement.exchanges has it; empty if it is none of HTTP/1.
func lineOf(x *capstanv1.Exchange) string {
	if x.Connection != nil || x.StreamId != 0 {
		return ""
	}
	q, s := x.Request, x.Response
	request, response := "–", "–"
	if q != nil {
		request = fmt.Sprintf("%s %s (%d B)", q.Method, q.Target, q.Body.GetSize())
	}
	if s != nil {
		response = fmt.Sprintf("%d (%d B)", s.Status, s.Body.GetSize())
	}
	return request + " → " + response
}

// differences returns what only we tell, with a plus, and what only the judge
// tells, with a minus.
func differences(records []*capstanv1.Exchange, want map[string]int) (d []string) {
	left := maps.Clone(want)
	for _, x := range records {
		if line := lineOf(x); line != "" {
			left[line]--
		}
	}
	for _, line := range slices.Sorted(maps.Keys(left)) {
		for n := left[line]; n != 0; {
			if n < 0 {
				d = append(d, "+ "+line)
				n++
			} else {
				d = append(d, "- "+line)
				n--
			}
		}
	}
	return d
}

// missing returns the pairs that only the judge has, whatever their bodies.
func (j *judgement) missing(records []*capstanv1.Exchange) (missing []string) {
	told := make(map[string]int)
	for _, x := range records {
		if x.Request != nil && x.Response != nil {
			told[fmt.Sprintf("%s %s → %d", x.Request.Method, x.Request.Target, x.Response.Status)]++
		}
	}
	for _, p := range j.Pairs {
		if p.Status == nil || p.Method == "" {
			continue
		}
		pair := fmt.Sprintf("%s %s → %d", p.Method, p.URI, *p.Status)
		if told[pair]--; told[pair] < 0 {
			missing = append(missing, pair)
		}
	}
	return missing
}

func captureDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/captures.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// disagreements reads the table of docs/captures.md: differences by file, each
// file with a reason.
func disagreements(t *testing.T) map[string][]string {
	t.Helper()
	table := make(map[string][]string)
	for line := range strings.Lines(captureDocument(t)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || !strings.HasPrefix(cells[0], "| `") {
			continue
		}
		file := strings.Trim(cells[0], "|` ")
		for d := range strings.SplitSeq(cells[1], "<br>") {
			table[file] = append(table[file], strings.Trim(d, "` "))
		}
		if len(strings.Trim(cells[2], " |")) < 20 {
			t.Errorf("%s: no reason given", file)
		}
	}
	return table
}

// TestCapturesAgainstIndependentJudges holds that HTTP/1 is told as the judge
// tells it, bodies' sizes and halves without the other included, but for the
// differences that docs/captures.md explains, and that of the files whose judges
// are sure, all pairs are told in 98 of 100.
func TestCapturesAgainstIndependentJudges(t *testing.T) {
	dir := capturesDir(t)
	table := disagreements(t)
	files, equal, right := 0, 0, 0
	for _, row := range captureIndex(t, dir) {
		sure := row.consensus == "agree" || row.consensus == "tshark-only"
		if !sure && row.consensus != "differ" {
			continue
		}
		t.Run(row.file, func(t *testing.T) {
			j := judged(t, dir, row)
			records, snapshot := readCapture(t, filepath.Join(dir, row.file))
			checkSnapshot(t, &snapshot, records)
			got := differences(records, j.exchanges())
			if sure {
				files++
				if len(got) == 0 {
					equal++
				}
				if missing := j.missing(records); len(missing) == 0 {
					right++
				}
			}
			if !slices.Equal(got, table[row.file]) {
				t.Errorf("differs in\n%s\nthe table says\n%s", strings.Join(got, "\n"), strings.Join(table[row.file], "\n"))
			}
			delete(table, row.file)
		})
	}
	for file := range table {
		t.Errorf("the table has %s, which is not judged", file)
	}
	t.Logf("of %d files whose judges are sure, %d are told with all their pairs, %d without any difference", files, right, equal)
	const form = "Of the %d files whose judges are sure of themselves, %d are told with every pair of request and response that the judge has, and %d without"
	if want := fmt.Sprintf(form, files, right, equal); !strings.Contains(strings.Join(strings.Fields(captureDocument(t)), " "), want) {
		t.Errorf("docs/captures.md doesn't say: %s", want)
	}
	if right*100 < files*98 {
		t.Errorf("that is less than 98 of 100")
	}
}

// TestCapturesWithGaps holds that of the responses that the judge finds somehow,
// in files with missing bytes, 95 of 100 are told, and that no pair is told that
// contradicts the judge.
func TestCapturesWithGaps(t *testing.T) {
	dir := capturesDir(t)
	found, told := 0, 0
	for _, row := range captureIndex(t, dir) {
		if !strings.HasSuffix(row.consensus, "+gap") {
			continue
		}
		t.Run(row.file, func(t *testing.T) {
			j := judged(t, dir, row)
			records, snapshot := readCapture(t, filepath.Join(dir, row.file))
			checkSnapshot(t, &snapshot, records)
			n := 0
			for _, x := range records {
				if x.Response != nil && x.StreamId == 0 && x.Connection == nil {
					n++
				}
			}
			found += j.responses()
			told += min(n, j.responses())
			if n < j.responses() {
				t.Logf("%d responses of %d", n, j.responses())
			}
			contradicts(t, records, &j)
		})
	}
	t.Logf("%d responses of %d", told, found)
	if told*100 < found*95 {
		t.Errorf("that is less than 95 of 100")
	}
}

// contradicts fails for pairs whose request the judge gives another response.
func contradicts(t *testing.T, records []*capstanv1.Exchange, j *judgement) {
	t.Helper()
	statuses := make(map[string]map[int]bool)
	for _, p := range j.Pairs {
		if p.Status != nil && p.Method != "" {
			q := p.Method + " " + p.URI
			if statuses[q] == nil {
				statuses[q] = make(map[int]bool)
			}
			statuses[q][*p.Status] = true
		}
	}
	for _, x := range records {
		if x.Request == nil || x.Response == nil {
			continue
		}
		q := x.Request.Method + " " + x.Request.Target
		if known := statuses[q]; known != nil && !known[int(x.Response.Status)] {
			t.Errorf("%s, the judge has %v", lineOf(x), slices.Collect(maps.Keys(known)))
		}
	}
}
