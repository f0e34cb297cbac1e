from ablab.config import InputError, Problem, nearest


def test_a_problem_says_where_what_and_what_instead():
    problem = Problem(
        "model.n_head is not a setting",
        "model.n_head",
        "grid.yaml, line 4",
        4,
        None,
        "model.n_heads",
    )
    assert str(problem).splitlines() == [
        "model.n_head is not a setting",
        "  in        grid.yaml, line 4",
        "  given     4",
        "  did you mean model.n_heads?",
    ]


def test_an_error_lists_every_problem():
    error = InputError("one thing", Problem("another"))
    assert [problem.message for problem in error.problems] == ["one thing", "another"]
    assert str(error) == "one thing\nanother"


def test_what_was_given_is_cut_where_it_is_long():
    assert len(str(Problem("too long", given="x" * 10_000))) < 300


def test_nearest_is_none_where_nothing_is_near():
    assert nearest("d_modle", ["d_model", "n_heads"]) == "d_model"
    assert nearest("zzz", ["d_model", "n_heads"]) is None
