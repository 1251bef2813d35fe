package terminal

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// maxShown is how many records the screen keeps, and as many while it is paused.
const maxShown = 5000

// drawEvery is how often new records are shown: often enough for the eye, seldom
// enough for a slow line.
const drawEvery = 100 * time.Millisecond

type mode uint8

const (
	listMode mode = iota
	detailMode
	helpMode
	filterPrompt
	searchPrompt
)

// model is the screen (see bubbletea). Update changes it, View draws it.
type model struct {
	feed          source
	address       string
	width, height int
	mode          mode

	records []*capstanv1.Exchange
	cursor  int
	top     int  // first record shown
	tail    bool // the cursor stays at the latest record

	paused  bool
	held    []*capstanv1.Exchange // came while paused
	dropped int                   // of those, for lack of room

	filter, search string
	input          []rune // of a prompt
	before         mode   // that the prompt was asked for in

	full    []line // the record in full
	lines   []line // full, wrapped to the width
	lineTop int

	total, skipped, failed uint64
	failReason             string
	problem                string
	message                string // answers the last key
}

// source is where records come from: a feed.
type source interface {
	next() update
	start(filter string)
}

func newModel(f source, address, filter string) *model {
	return &model{feed: f, address: address, filter: filter, width: 80, height: 24, tail: true, problem: "connecting"}
}

type drawMsg struct{}

func tick() tea.Cmd {
	return tea.Tick(drawEvery, func(time.Time) tea.Msg { return drawMsg{} })
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	m.feed.start(m.filter)
	return tick()
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 1), max(msg.Height, 1)
		m.lines = wrap(m.full, m.width)
		m.scroll()
	case drawMsg:
		m.take(m.feed.next())
		return m, tick()
	case tea.PasteMsg:
		if m.mode == filterPrompt || m.mode == searchPrompt {
			m.input = append(m.input, []rune(msg.Content)...)
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// take shows what has come.
func (m *model) take(u update) {
	m.problem = u.problem
	if u.refused != nil {
		m.problem = reason(u.refused)
	}
	m.total += uint64(len(u.records))
	m.skipped += u.skipped
	if u.failed > 0 {
		m.failed += u.failed
		m.failReason = u.failReason
	}
	if m.paused {
		m.held = append(m.held, u.records...)
		if over := len(m.held) - maxShown; over > 0 {
			m.held = append([]*capstanv1.Exchange(nil), m.held[over:]...)
			m.dropped += over
		}
		return
	}
	m.show(u.records)
}

// show appends records to the list. The cursor stays on its record.
func (m *model) show(records []*capstanv1.Exchange) {
	m.records = append(m.records, records...)
	if over := len(m.records) - maxShown; over > 0 {
		m.records = append([]*capstanv1.Exchange(nil), m.records[over:]...)
		m.cursor, m.top = max(m.cursor-over, 0), max(m.top-over, 0)
	}
	if m.tail {
		m.cursor = max(len(m.records)-1, 0)
	}
	m.scroll()
}

func (m *model) pause() {
	m.paused = !m.paused
	if m.paused {
		return
	}
	held := m.held
	m.held, m.dropped = nil, 0
	m.show(held)
}

// page is how many lines there are between the head and the foot.
func (m *model) page() int { return max(m.height-headLines-footLines, 1) }

// scroll brings the cursor into view.
func (m *model) scroll() {
	m.top = min(m.top, m.cursor)
	m.top = max(m.top, m.cursor-m.page()+1)
	m.lineTop = max(min(m.lineTop, len(m.lines)-m.page()), 0)
}

// move moves the cursor to a record; at the last one it stays with the latest.
func (m *model) move(to int) {
	m.cursor = max(min(to, len(m.records)-1), 0)
	m.tail = m.cursor >= len(m.records)-1
	m.scroll()
}

// open shows the record under the cursor in full.
func (m *model) open() {
	if m.cursor < len(m.records) {
		m.tail = false
		m.mode, m.full, m.lineTop = detailMode, detail(m.records[m.cursor]), 0
		m.lines = wrap(m.full, m.width)
	}
}

// find goes to the next place, in direction step, that the search is about.
func (m *model) find(step int) {
	if m.search == "" {
		return
	}
	if m.mode == detailMode {
		for i := m.lineTop + step; i >= 0 && i < len(m.lines); i += step {
			if contains(m.lines[i].text, m.search) {
				m.lineTop = i
				m.scroll()
				return
			}
		}
	} else {
		for i := m.cursor + step; i >= 0 && i < len(m.records); i += step {
			if matches(m.records[i], m.search) {
				m.move(i)
				m.tail = false
				return
			}
		}
	}
	m.message = "not found: " + text.Safe(m.search)
}

// matches reports whether x in full has a text in it.
func matches(x *capstanv1.Exchange, s string) bool {
	for _, l := range detail(x) {
		if contains(l.text, s) {
			return true
		}
	}
	return false
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
