"""Whether the hosts of the downloads can be reached: a short try of each, which fails no check."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from bert_paddle.cli.selfcheck.facts import NOTE, OK, Fact
from bert_paddle.glue.data import download
from bert_paddle.models import gpt2_hub, hub

_TIMEOUT = 5.0  # seconds
_URLS = {
    "model hub": hub.HUB_MODELS["bert-base-uncased"].vocab_url,
    "GPT-2's hub": gpt2_hub.file_url("gpt2", "vocab.json"),
    "GLUE download": f"{download.BASE_URL}/{download.OFFICIAL_FILES['AX'][0].path}",
}


def network_facts(urls: dict[str, str] = _URLS, timeout: float = _TIMEOUT) -> list[Fact]:
    """One fact for each URL, after at most a little more than `timeout` seconds."""
    answers: dict[str, str] = {}
    threads = [
        threading.Thread(target=_ask, args=(name, url, timeout, answers.__setitem__), daemon=True)
        for name, url in urls.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout + 1)  # looking up a name has no timeout of its own
    facts = []
    for name, url in urls.items():
        answer = answers.get(name, f"no answer in {timeout:g} s")
        reached = answer == ""
        text = f"{url} " + ("can be reached" if reached else f"cannot be reached ({answer})")
        facts.append(Fact(name, text, OK if reached else NOTE))
    return facts


def _ask(name: str, url: str, timeout: float, store: Callable[[str, str], None]) -> None:
    """Request the headers of a URL; store "" if it can be reached, or why not."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "bert_paddle"})
    try:
        with urllib.request.urlopen(request, timeout=timeout):
            store(name, "")
    except urllib.error.HTTPError as error:
        store(name, f"HTTP {error.code} {error.reason}")
        error.close()
    except Exception as error:
        store(name, str(getattr(error, "reason", None) or error) or type(error).__name__)
