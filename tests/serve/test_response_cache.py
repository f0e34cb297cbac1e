from ablab.serve import response_cache
from ablab.serve.response_cache import ResponseCache


def test_an_answer_is_made_again_only_when_the_version_is_another(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(response_cache.time, "monotonic", lambda: clock[0])
    made = []

    def make():
        made.append(clock[0])
        clock[0] += 1.0  # it takes a second
        return f"text {len(made)}"

    answers = ResponseCache()
    assert answers.get("a", "1", make).text == "text 1"
    clock[0] += 100
    assert answers.get("a", "1", make).text == "text 1"
    assert answers.get("a", "2", make).text == "text 2"
    clock[0] += 1.0  # too soon after one that took a second
    again = answers.get("a", "3", make)
    assert (again.version, again.text) == ("2", "text 2")
    clock[0] += 3.5
    assert answers.get("a", "3", make).text == "text 3"
    assert answers.get("b", "3", make).text == "text 4"
