import base64
import hashlib
import re

from ablab.logbook.page import assets, policy, templates


def test_only_the_pages_own_scripts_may_run():
    found = assets()
    scripts = [found[name] for name in ("first_js", "uplot_js", "page_js")]
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in found["policy"]
        assert "</script" not in script
    assert "default-src 'none'" in found["policy"]
    assert "connect-src 'none'" in found["policy"]
    assert "unsafe-inline" not in found["policy"].partition("style-src")[0]


def test_further_scripts_come_last_and_may_ask_where_they_are_told():
    found = assets("console.log(grid);", connect="'self'")
    assert found["page_js"].rstrip().endswith("console.log(grid);\n})();\n})();")
    assert "connect-src 'self'" in found["policy"]
    assert policy().startswith("default-src 'none'; script-src 'none';")


def test_scripts_ask_for_nothing_from_elsewhere():
    found = assets()
    for name in ("page_js", "page_css", "uplot_css"):
        assert re.findall(r"https?://|@import|url\(", found[name]) == [], name


def test_cells_of_tables_keep_their_bars():
    template = templates().from_string("{{ 'a|b' | cell }}")
    assert template.render() == r"a\|b"


def test_a_cell_of_a_table_is_one_line():
    """A claim can be a block of YAML, which ends with a new line."""
    template = templates().from_string("| {{ claim | cell }} | held |")
    assert template.render(claim="one\n  two\n") == "| one two | held |"
