"""HTML of tables and text."""

from ablab.config.html import Cell, Markup, and_more, block, folded, paragraph, table


def test_everything_is_escaped_but_markup():
    assert paragraph('<a href="x">') == "<p>&lt;a href=&quot;x&quot;&gt;</p>"
    assert paragraph(Markup("<b>x</b>"), "soft") == '<p class="soft"><b>x</b></p>'
    html = table(["<i>"], [["<script>"], [Cell("text", Markup("<svg></svg>"))]])
    assert "<th>&lt;i&gt;</th>" in html
    assert "<td>&lt;script&gt;</td>" in html
    assert "<td><svg></svg></td>" in html
    assert folded("a < b", "x") == "<details><summary>a &lt; b</summary>x</details>"


def test_numbers_are_at_the_right():
    html = table(["n", "x"], [[1234, 0.5], [None, float("nan")]])
    assert '<td class="number">1,234</td><td class="number">0.5</td>' in html
    assert '<td class="number"></td><td class="number"></td>' in html


def test_verdicts_have_a_colour():
    assert '<td class="held">held</td>' in table(["verdict"], [["held"]])


def test_at_most_twenty_rows():
    html = table(["n"], [[n] for n in range(25)], "frame")
    assert html.count("<tr>") == 21
    assert html.endswith('<p class="soft">and 5 more: frame</p>')
    assert table(["n"], [[1]], count=1001).endswith('<p class="soft">and 1,000 more</p>')
    assert "more" not in table(["n"], [[n] for n in range(20)])
    assert and_more(2) == "and 2 more"


def test_a_long_text_is_cut():
    assert paragraph("x" * 1000) == f"<p>{'x' * 299}…</p>"


def test_a_block_has_its_style_and_themes():
    html = block("x")
    assert html.startswith('<div class="ablab-out"><style>.ablab-out {')
    assert html.endswith("</style>x</div>")
    style = html[html.index("<style>") : html.index("</style>")]
    rules = [rule.rpartition("}")[2] for rule in style.removeprefix("<style>").split("{")[:-1]]
    selectors = [rule.strip() for rule in rules if not rule.strip().startswith("@")]
    assert selectors
    assert all(".ablab-out" in each for each in selectors)  # nothing else in the page changes
    assert '[data-jp-theme-light="false"]' in style
    assert '[data-theme="dark"]' in style
