# %% [markdown]
# # Start here
#
# This is a hospital you are allowed to break.
#
# It is small: a hospital information system (**HIS**), a radiology information system
# (**RIS**), a **CT** scanner, a picture archive (**PACS**) and a **workstation** to look at
# images. But it is real where it counts. Each system listens on a socket of this machine, keeps
# its state on disk, and speaks what its counterpart in a hospital speaks: **HL7 v2** and
# **DICOM**. The patients never lived.
#
# You are the PACS administrator. In this first lesson you start the hospital, watch one exam
# travel from the order to the report, and take a patient of your own through it.
#
# Run a cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>, from the top to the bottom.

# %%
import labsim
from labsim.widgets import SeriesViewer, hospital_map, show_slices

lab = labsim.start("00_start_here")
hospital = lab.hospital
hospital

# %% [markdown]
# That is the whole hospital. Each line is a place where a system listens: under the address
# that the other systems are configured with (such as `pacs:104`), and where that really is on
# this machine.
#
# Running the first cell again does no harm: it returns the hospital that runs already.
#
# Here is who calls whom.

# %%
hospital_map(hospital)

# %% [markdown]
# ## One exam
#
# A patient comes with a cough. One call does what in a hospital takes six people: a clerk
# registers the patient, a doctor orders a CT, the RIS schedules it, the scanner takes the
# images and sends them, somebody reads them, and the report goes back to the doctor.
#
# Every step is a message over a socket. The exam stops where a system fails.

# %%
exam = hospital.exam()
exam

# %% [markdown]
# The numbers in the column **IHE** name the step in the *IHE Radiology Technical Framework*,
# the book in which vendors have agreed who sends what to whom. Lesson 01 looks into each.
#
# `AA` is HL7 for *application accept*; `0x0000` is DICOM for *success*. Both are what you
# want to see.
#
# The same on the map:

# %%
hospital_map(hospital, exam.transcript())

# %% [markdown]
# ## The pictures
#
# These images were computed by the scanner, sent to the PACS, and fetched from there.

# %%
show_slices(exam.images, window="LUNG")

# %% [markdown]
# A CT measures far more shades than an eye can tell apart. A **window** chooses which of them
# become grey: its centre is middle grey, and its width is what lies between black and white.
# Slide through the patient, and try the windows.

# %%
SeriesViewer(exam.images)

# %% [markdown]
# ## The report
#
# The order was answered: the report is in the patient's chart.

# %%
for result in hospital.his.chart(exam.patient.patient_id):
    print(f"{result.accession}, signed by {result.interpreter.replace('^', ', ')}\n")
    print(result.text)

# %% [markdown]
# ## The journal
#
# Nothing happens unseen. The journal has every association, every message and every change of
# state, across all systems. This is one exam in it; the full list has a line for each kind of
# message.

# %%
exam.transcript()

# %% [markdown]
# ## Exercise 1: a patient of your own
#
# Register a patient with the name **Alex Rivera**, and take them through a **CT of the head**,
# from order to report. The check looks into the systems of the hospital, not at your code, so
# any way that gets there is right.
#
# Stuck? `lab.exercise(1).hint()` helps, and `lab.exercise(1).solution()` tells.

# %%
# Your turn.

# %% tags=["solution"]
hospital.exam("CTHEAD", name="Rivera^Alex")

# %%
lab.exercise(1).check()

# %% [markdown]
# When it has passed, look at what you made: what does the PACS hold now?

# %%
hospital.pacs.table()

# %% [markdown]
# ## Where to go from here
#
# - **Lesson 01** (`01_one_exam.ipynb`) opens every message of an exam, and something breaks.
# - Your own tools work too. `python -m labsim up` in a terminal keeps a hospital running for
#   DCMTK, a viewer or a script of yours, and prints the lines to try.
# - When you close this notebook, shut down its kernel: the hospital stops with it, and its
#   files are removed. To stop it now: `lab.stop()`.
