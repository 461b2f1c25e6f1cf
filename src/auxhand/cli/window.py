"""A window that shows one picture after another, by Tk, which comes with Python."""

from __future__ import annotations

from typing import Any

import numpy as np


class Window:
    """A window of pictures; `closed` says whether its user has closed it, or pressed Esc or q.

    Raises:
        ValueError: this machine shows no windows, or its Python is without Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            self._tk = tkinter.Tk()
        except ImportError as error:
            raise ValueError(
                "this Python has no Tk to show a window (on Debian: apt install python3-tk); "
                "name a folder by --out, and --no-window"
            ) from error
        except tkinter.TclError as error:
            raise ValueError(
                f"no window can be shown here ({error}); name a folder by --out, and --no-window"
            ) from error
        self.closed = False
        self._tk.title(title)
        self._tk.resizable(False, False)
        self._tk.protocol("WM_DELETE_WINDOW", self._end)
        for key in ("<Escape>", "q"):
            self._tk.bind(key, lambda _: self._end())
        self._label = tkinter.Label(self._tk, borderwidth=0)
        self._label.pack()
        self._picture: Any = None

    def _end(self) -> None:
        self.closed = True

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, (H, W, 3) uint8 RGB, in place of the one before."""
        from PIL import Image, ImageTk

        # The name keeps it: Tk itself holds no reference to what it shows.
        self._picture = ImageTk.PhotoImage(Image.fromarray(picture), master=self._tk)
        self._label.configure(image=self._picture)
        self._tk.update()

    def close(self) -> None:
        """Take the window away."""
        self._picture = None
        self._tk.destroy()
