package terminal

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"capstan/interceptor/internal/sink/text"
)

// SGR sequences (ECMA-48).
const (
	reset   = "\x1b[0m"
	bold    = "\x1b[1m"
	dim     = "\x1b[2m"
	reverse = "\x1b[7m"
	red     = "\x1b[31m"
	yellow  = "\x1b[33m"
	cyan    = "\x1b[36m"
)

// Lines around the list.
const (
	headLines = 1
	footLines = 2
)

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.draw(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "interceptor"
	return v
}

// draw returns the lines of the screen: as many as there are, none too long.
func (m *model) draw() []string {
	lines := []string{m.bar(m.head())}
	var body []string
	switch m.mode {
	case helpMode:
		body = help
	case detailMode:
		body = m.drawDetail()
	default:
		body = m.drawList()
	}
	for i := range m.page() {
		s := ""
		if i < len(body) {
			s = body[i]
		}
		lines = append(lines, m.fit(s))
	}
	lines = append(lines, m.fit(m.note()), m.bar(m.foot()))
	return lines[max(len(lines)-m.height, 0):]
}

// fit cuts a line at the screen's width.
func (m *model) fit(s string) string { return ansi.Truncate(s, m.width, "…") }

// bar is a line in reverse as wide as the screen.
func (m *model) bar(s string) string {
	s = m.fit(s)
	return reverse + s + strings.Repeat(" ", max(m.width-ansi.StringWidth(s), 0)) + reset
}

func (m *model) head() string {
	s := fmt.Sprintf(" interceptor %s  %d records", text.Safe(m.address), m.total)
	if m.paused {
		s += fmt.Sprintf("  PAUSED, %d waiting", len(m.held))
	}
	if m.filter != "" {
		s += "  filter: " + text.Safe(m.filter)
	}
	return s
}

func (m *model) drawList() []string {
	if len(m.records) == 0 {
		return []string{"", dim + "  No records so far." + reset}
	}
	var rows []string
	for i := m.top; i < min(m.top+m.page(), len(m.records)); i++ {
		row := string(text.Encoder{Color: i != m.cursor, Columns: true}.Append(nil, m.records[i]))
		row = strings.TrimSuffix(row, "\n")
		if i == m.cursor {
			row = m.bar(row)
		}
		rows = append(rows, row)
	}
	return rows
}

func (m *model) drawDetail() []string {
	var rows []string
	for _, l := range m.lines[m.lineTop:min(m.lineTop+m.page(), len(m.lines))] {
		rows = append(rows, l.style+l.text+reset)
	}
	return rows
}

// note is the line for what is not as it should be, and for prompts.
func (m *model) note() string {
	switch {
	case m.mode == filterPrompt:
		return bold + "filter (CEL): " + reset + text.Safe(string(m.input)) + reverse + " " + reset
	case m.mode == searchPrompt:
		return bold + "search: " + reset + text.Safe(string(m.input)) + reverse + " " + reset
	case m.message != "":
		return yellow + m.message + reset
	case m.problem != "":
		return red + text.Safe(m.problem) + reset
	case m.failed > 0:
		return yellow + fmt.Sprintf("the filter has no answer for %d records, which are left out: %s", m.failed, text.Safe(m.failReason)) + reset
	case m.skipped > 0 || m.dropped > 0:
		return yellow + fmt.Sprintf("%d records came too fast and are left out", m.skipped+uint64(m.dropped)) + reset
	}
	return ""
}

func (m *model) foot() string {
	switch m.mode {
	case detailMode:
		return " ↑↓ scroll  ←→ others  esc back  / search  n next  p pause  ? help  q back"
	case filterPrompt:
		return ` enter apply  esc cancel  ctrl+u clear   e.g. exchange.response.status >= 500`
	case searchPrompt:
		return " enter search  esc cancel"
	case helpMode:
		return " any key: back"
	}
	return " ↑↓ move  enter open  G follow  f filter  / search  p pause  c clear  ? help  q quit"
}

var help = []string{
	"",
	bold + "  Keys" + reset,
	"  ↑ ↓ j k          one up, one down",
	"  PgUp PgDn        a page up, a page down",
	"  Home g, End G    first; last, and follow",
	"  Enter            the record in full: headers, bodies",
	"  ← →              in full: the record before, the next one",
	"  Esc              back",
	"  p Space          pause; what comes meanwhile is kept",
	"  f                filter, in the interceptor (CEL over exchange)",
	"  / n N            search what is here; next, previous",
	"  c                clear the list",
	"  q                back, or quit",
	"",
	bold + "  Columns" + reset,
	"  time, status (of gRPC both), ! if something is lacking, duration, what was asked, sizes, ends",
	"",
	bold + "  Filters" + reset,
	`  exchange.response.status >= 500`,
	`  exchange.request.method == "POST" && exchange.request.target.startsWith("/api")`,
	`  exchange.request.header("content-type").contains("json")`,
	`  exchange.duration_ns > 1000000000 || size(exchange.flaws) > 0`,
}
