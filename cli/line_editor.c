/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C arrives as a key: while a line is edited the terminal makes no signal of it, and libedit
 * calls our function for that key. So no signal handler is needed. */
#include "cli/line_editor.h"

#include <histedit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct line_editor {
    EditLine *edit;
    History *history;
    const char *history_path; /* NULL: not kept */
    const char *prompt;       /* of the present read */
    bool interrupted;         /* during the present read */
};

static char *prompt_of(EditLine *edit) {
    struct line_editor *editor;
    el_get(edit, EL_CLIENTDATA, &editor);
    return (char *)editor->prompt; /* libedit's type; it only reads */
}

static unsigned char on_interrupt(EditLine *edit, int key) {
    (void)key;
    struct line_editor *editor;
    el_get(edit, EL_CLIENTDATA, &editor);
    editor->interrupted = true;
    return CC_NEWLINE;
}

/* Creates the folders above the file, as `mkdir -p` does. */
static bool make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

/* The file exists with mode 0600 before anything is written to it. NULL: no history. */
static const char *history_file(const struct cli *cli) {
    const struct options *options = cli->options;
    const char *state = options_environment(options, "XDG_STATE_HOME");
    const char *home = options_environment(options, "HOME");
    struct arena *arena = &cli->options->arena;
    if (!options_flag(options, OPT_HISTORY) || (!state && !home))
        return NULL;
    char *path = state ? arena_printf(arena, "%s/shoal/history", state)
                       : arena_printf(arena, "%s/.local/state/shoal/history", home);
    int fd = path && make_folders(path) ? open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || fchmod(fd, 0600) != 0) {
        log_warn(&cli->log, "history is not kept: %s: %s", path ? path : "", strerror(errno));
        path = NULL;
    }
    if (fd >= 0)
        close(fd);
    return path;
}

enum status line_editor_open(struct line_editor **out, const struct cli *cli, struct error *err) {
    struct line_editor *editor = calloc(1, sizeof *editor);
    *out = editor;
    if (editor) {
        editor->edit = el_init("shoal", cli->in, cli->out, cli->err);
        editor->history = history_init();
    }
    if (!editor || !editor->edit || !editor->history) {
        line_editor_close(editor);
        *out = NULL;
        return error_set(err, ERR_NOMEM, "no memory for the line editor");
    }
    el_set(editor->edit, EL_CLIENTDATA, editor);
    el_set(editor->edit, EL_PROMPT, prompt_of);
    el_set(editor->edit, EL_EDITOR, "emacs");
    el_set(editor->edit, EL_SIGNAL, 0);
    el_set(editor->edit, EL_SETTY, "-d", "-isig", NULL);
    /* el_set would copy the two texts and never free them. */
    el_wset(editor->edit, EL_ADDFN, L"shoal-interrupt", L"leave the line", on_interrupt);
    el_set(editor->edit, EL_BIND, "^C", "shoal-interrupt", NULL);
    el_set(editor->edit, EL_HIST, history, editor->history);
    HistEvent event;
    history(editor->history, &event, H_SETSIZE, HISTORY_LINES_MAX);
    history(editor->history, &event, H_SETUNIQUE, 1);
    editor->history_path = history_file(cli);
    if (editor->history_path)
        history(editor->history, &event, H_LOAD, editor->history_path);
    return OK;
}

void line_editor_close(struct line_editor *editor) {
    if (!editor)
        return;
    if (editor->history)
        history_end(editor->history);
    if (editor->edit)
        el_end(editor->edit);
    free(editor);
}

enum line_result line_editor_read(struct line_editor *editor, const char *prompt,
                                  struct text *line) {
    editor->prompt = prompt;
    editor->interrupted = false;
    el_resize(editor->edit);
    /* libedit would show the prompt first and take the keyboard afterwards: a Ctrl-C between the
     * two would still be a signal. */
    el_set(editor->edit, EL_PREP_TERM, 1);
    int n;
    const char *read = el_gets(editor->edit, &n);
    if (editor->interrupted)
        return LINE_INTERRUPTED;
    if (!read || n <= 0)
        return LINE_END;
    struct span typed = span_make(read, (size_t)n);
    while (typed.len && (typed.data[typed.len - 1] == '\n' || typed.data[typed.len - 1] == '\r'))
        typed.len--;
    text_add(line, typed);
    HistEvent event;
    if (typed.len) {
        history(editor->history, &event, H_ENTER, read);
        if (editor->history_path)
            history(editor->history, &event, H_SAVE, editor->history_path);
    }
    return LINE_READ;
}
