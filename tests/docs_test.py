"""The documents point at files that exist: relative links, and paths of this tree in `code`."""
import pathlib
import re
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
TOP_FOLDERS = ('benchmarks', 'boot', 'docs', 'drivers', 'examples', 'launcher', 'lib', 'scripts', 'sdk', 'tests')
LINK = re.compile(r'\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)')
PATH = re.compile(r'`((?:%s)/[\w./-]+)`' % '|'.join(TOP_FOLDERS))


def documents():
    """Returns the Markdown files of the tree, without those of build directories and subprojects."""
    found = [*TOP.glob('*.md')]
    for folder in TOP_FOLDERS:
        found += (TOP / folder).rglob('*.md')
    return sorted(found)


def missing(document, text):
    """Returns the relative links and paths in `text` that lead to no file."""
    links = [link for link in LINK.findall(text) if '://' not in link]
    return ([link for link in links if not (document.parent / link).exists()]
            + [path for path in PATH.findall(text) if not (TOP / path).exists()])


class Documents(unittest.TestCase):
    def test_each_link_and_path_leads_to_a_file(self):
        found = documents()
        self.assertIn(TOP / 'docs/adr/README.md', found)
        for document in found:
            with self.subTest(str(document.relative_to(TOP))):
                self.assertEqual(missing(document, document.read_text(encoding='utf-8')), [])

    def test_the_index_lists_each_decision_with_its_title(self):
        index = (TOP / 'docs/adr/README.md').read_text(encoding='utf-8')
        listed = re.findall(r'^- \[(\d{4})\]\((\1-[a-z0-9-]+\.md)\) (.*)$', index, re.MULTILINE)
        decisions = sorted((TOP / 'docs/adr').glob('[0-9]*.md'))
        self.assertEqual([name for _, name, _ in listed], [decision.name for decision in decisions])
        for number, name, title in listed:
            text = (TOP / 'docs/adr' / name).read_text(encoding='utf-8')
            self.assertTrue(text.startswith(f'# {number}. {title}\n\nDate: '), name)
            self.assertEqual(re.findall(r'^## (.*)$', text, re.MULTILINE), ['Context', 'Decision', 'Consequences', 'Rejected'], name)


class Check(unittest.TestCase):
    """Tests of the check itself: a check that accepts everything does not fail."""

    def test_a_missing_file_is_found(self):
        here = TOP / 'docs/tree.md'
        self.assertEqual(missing(here, '[a](nowhere.md) [b](tree.md#top) [c](https://example.org/x)'), ['nowhere.md'])
        self.assertEqual(missing(here, '`lib/os/nothing.h` `lib/os` `os/nothing.h`'), ['lib/os/nothing.h'])


if __name__ == '__main__':
    unittest.main()
